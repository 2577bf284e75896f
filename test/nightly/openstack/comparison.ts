import { until } from '../../support/lab.js';
import type { NightlyCloud } from './cloud.js';

/** Times and requests of cowherd and of OpenStack's own client, for the same servers. */

export interface Cost {
  seconds: number;
  requests: number;
}

export interface Comparison {
  what: string;
  cowherd: Cost;
  openstack: Cost;
}

export interface ComparisonOptions {
  count: number;
  /** Base image and flags of spawn, and the same for `openstack server create`. */
  base: string;
  spawnFlags: readonly string[];
  createFlags: readonly string[];
  /** Waits until the guests do nothing any more, so that they do not slow down what is measured next. */
  settle: (servers: readonly string[]) => Promise<void>;
}

export async function compare(cloud: NightlyCloud, options: ComparisonOptions): Promise<Comparison[]> {
  const { count, base, spawnFlags, createFlags, settle } = options;
  const measure = async (work: () => Promise<unknown>): Promise<Cost> => {
    cloud.takeCount();
    const began = performance.now();
    await work();
    return { seconds: (performance.now() - began) / 1_000, requests: cloud.takeCount() };
  };
  const ids = async (prefix: string): Promise<string[]> => {
    const found = (await cloud.servers()).filter(({ name, status }) => name.startsWith(prefix) && status === 'ACTIVE');
    if (found.length !== count) throw new Error(`${found.length} instead of ${count} servers are active`);
    await settle(found.map(({ id }) => id));
    return found.map(({ id }) => id);
  };

  const spawned = await measure(() => cloud.ok('spawn', 'measured', '--base', base, '--count', String(count), ...spawnFlags));
  await ids('measured-');
  const reset = await measure(() => cloud.ok('reset', 'measured'));
  await ids('measured-');
  const removed = await measure(() => cloud.ok('teardown', 'measured', '--yes'));

  const many = ['--min', String(count), '--max', String(count)];
  const created = await measure(async () => {
    await cloud.openstack('server', 'create', '--image', base, ...createFlags, ...many, '--wait', 'by-hand');
    // It waits for the first server only.
    const list = (): Promise<string> => cloud.openstack('server', 'list', '--name', '^by-hand-', '-f', 'value', '-c', 'Status');
    await until(
      'the servers to be active',
      async () => (await list()).split('\n').filter((status) => status === 'ACTIVE').length === count,
      600,
    );
  });
  const servers = await ids('by-hand-');
  const rebuilt = await measure(async () => {
    for (const id of servers) await cloud.openstack('server', 'rebuild', '--wait', id);
  });
  await ids('by-hand-');
  const deleted = await measure(() => cloud.openstack('server', 'delete', '--wait', ...servers));
  return [
    { what: `spawn ${count} (server create --max ${count} --wait, then server list)`, cowherd: spawned, openstack: created },
    { what: `reset ${count} (a loop of server rebuild --wait)`, cowherd: reset, openstack: rebuilt },
    { what: `teardown ${count} (server delete --wait)`, cowherd: removed, openstack: deleted },
  ];
}

/** As a table in Markdown. */
export function tableOf(rows: readonly Comparison[]): string {
  const cells = ({ seconds, requests }: Cost): string => `${seconds.toFixed(1)} s | ${requests}`;
  return [
    '| what | cowherd | requests | openstack | requests |',
    '| --- | ---: | ---: | ---: | ---: |',
    ...rows.map(({ what, cowherd, openstack }) => `| ${what} | ${cells(cowherd)} | ${cells(openstack)} |`),
  ].join('\n');
}
