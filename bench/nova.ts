import { existsSync } from 'node:fs';
import { StatefulCloud } from '../test/fakes/openstack/stateful/stateful-cloud.js';
import { type Bench, round, type Usage } from './bench.js';
import { emulatedClient, installedClient, type OpenStackClient } from './openstack-client.js';

/**
 * Fleets on OpenStack: time and requests of each command, on a fake cloud in real time. Its tasks take as long as those of a real Nova with
 * two hosts on one machine: ten servers became active in 13 s, were rebuilt in 12.5 s and deleted in 3.7 s. What is compared is how the
 * clients use the cloud, and not the cloud.
 */

const fleet = 'cwt-bench';
const base = 'cwt-bench-golden';
const next = 'cwt-bench-next';
const client = '/usr/bin/openstack';

/** ms for one server at a time on each of two hosts. */
const times = { schedule: 300, create: 2_600, rebuild: 2_500, delete: 750, start: 800, stop: 1_500 };
/** ms until the services reply. */
const replyMs = 20;
/** Servers that the shell loop rebuilds, one after the other; the time of more is calculated from that. */
const mostInLoop = 12;

interface Taken extends Usage {
  requests: number;
}

interface Size {
  count: number;
  /** What each host does at a time. */
  slots: number;
}

export async function benchNova(bench: Bench): Promise<unknown> {
  const other = existsSync(client) ? installedClient(client) : emulatedClient;
  bench.say(`  ${other.title}`);
  const all: unknown[] = [];
  // A hundred at the speed of the two small hosts would be minutes of waiting that are the same for every client.
  for (const count of bench.sizes.nova) all.push(await measured(bench, other, { count, slots: Math.max(1, Math.ceil(count / 12)) }));
  return all;
}

async function measured(bench: Bench, other: OpenStackClient, { count, slots }: Size): Promise<unknown> {
  const began = performance.now();
  const limits = { slots, capacity: 10_000 };
  const quota = { instances: undefined };
  const cloud = await StatefulCloud.start({ now: () => performance.now() - began, hosts: 2, limits, times, quota });
  cloud.fake.delayMs = replyMs;
  for (const [name, digit] of [
    [base, '5'],
    [next, '6'],
  ] as const) {
    cloud.addImage({ name, sha512: digit.repeat(128) });
  }
  const before = { ...process.env };
  Object.assign(process.env, cloud.environment);
  try {
    bench.say(`  ${count} servers, each of two hosts works on ${slots} at a time`);
    const own = await ownCommands(bench, cloud, count);
    const others = await otherCommands(bench, cloud, other, count);
    addRows(bench, count, own, others);
    return { count, slots, client: other.title, cowherd: own, others };
  } finally {
    process.env = before;
    await cloud.stop();
  }
}

type Own = Record<'spawn' | 'status' | 'reset' | 'rebase' | 'teardown', Taken>;

async function ownCommands(bench: Bench, cloud: StatefulCloud, count: number): Promise<Own> {
  const run = async (verb: string, ...words: string[]): Promise<Taken> => {
    const from = cloud.fake.received.length;
    const usage = await bench.cowherd(verb, fleet, '--connect', 'openstack:///', ...words);
    const taken = { ...usage, requests: cloud.fake.received.length - from };
    bench.say(`  cowherd ${verb}: ${taken.wall_s} s, ${taken.cpu_s} CPU-s, ${taken.requests} requests`);
    return taken;
  };
  return {
    spawn: await run('spawn', '--base', base, '--count', String(count), '--flavor', 'cow.tiny', '--network', 'none'),
    status: await run('status'),
    reset: await run('reset'),
    rebase: await run('rebase', '--base', next, '--batch', String(Math.min(count, 64))),
    teardown: await run('teardown', '--yes'),
  };
}

interface Others {
  create: Taken;
  /** Of {@link rebuilt} servers. */
  rebuildLoop: Taken;
  rebuilt: number;
}

async function otherCommands(bench: Bench, cloud: StatefulCloud, other: OpenStackClient, count: number): Promise<Others> {
  const counted = async (what: string, work: () => Promise<number>): Promise<Taken> => {
    const from = cloud.fake.received.length;
    const began = performance.now();
    const cpu_s = await work();
    const wall_s = round((performance.now() - began) / 1000, 3);
    const taken = { wall_s, cpu_s, peak_kib: 0, requests: cloud.fake.received.length - from };
    bench.say(`  ${what}: ${wall_s} s, ${taken.requests} requests`);
    return taken;
  };
  const context = { bench, cloud, image: base, flavor: 'cow.tiny' };
  const create = await counted(`openstack server create --max ${count} --wait, and until all are active`, async () => {
    const cpu = await other.createMany(context, 'bench', count);
    await allActive(cloud, count);
    return cpu;
  });
  const names = cloud.servers.slice(0, mostInLoop).map(({ id }) => id);
  const rebuildLoop = await counted(`a loop of openstack server rebuild --wait, ${names.length} times`, async () => {
    let cpu = 0;
    for (const id of names) cpu += await other.rebuild(context, id);
    return cpu;
  });
  return { create, rebuildLoop, rebuilt: names.length };
}

/** The client waits for the first server only. This looks without requests. */
async function allActive(cloud: StatefulCloud, count: number): Promise<void> {
  for (;;) {
    const { servers } = cloud;
    if (servers.length === count && servers.every(({ vmState }) => vmState === 'active')) return;
    if (servers.some(({ vmState }) => vmState === 'error')) throw new Error('a server of the fake cloud failed');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function addRows(bench: Bench, count: number, own: Own, { create, rebuildLoop, rebuilt }: Others): void {
  const loop = (rebuildLoop.wall_s / rebuilt) * count;
  const calculated = rebuilt < count ? `, calculated from ${rebuilt}` : '';
  const walls = (ours: number, theirs: number) => ({ cowherd_s: ours, other_s: round(theirs) });
  bench.row(
    ...([`nova, ${count} servers: spawn / openstack server create --max`, own.spawn.wall_s / create.wall_s, '×', 1.5, 'less'] as const),
    walls(own.spawn.wall_s, create.wall_s),
  );
  bench.row(
    ...([
      `nova, ${count} servers: loop of openstack server rebuild${calculated} / reset`,
      loop / own.reset.wall_s,
      '×',
      3,
      'more',
    ] as const),
    walls(own.reset.wall_s, loop),
  );
  for (const verb of ['spawn', 'status', 'reset', 'rebase', 'teardown'] as const) {
    const { requests } = own[verb];
    // One change per member, a list per second, what is checked once, and whether a deleted server is gone.
    const most = verb === 'status' ? 6 : (verb === 'teardown' ? 2 : 1) * count + 1.5 * own[verb].wall_s + 20;
    bench.row(`nova, ${count} servers: requests of ${verb}`, requests, 'requests', Math.round(most), 'less');
  }
}
