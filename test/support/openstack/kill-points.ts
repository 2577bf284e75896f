import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Received } from '../../fakes/openstack/fake-cloud.js';
import type { ChildResult, Children } from './children.js';
import type { ChildTask } from './kill-child.js';
import type { NovaLab } from './nova-lab.js';

export interface KillPoint {
  /** Number of the request, from 1. */
  at: number;
  /** before: the cloud does not get the request. after: the cloud does what it says, and nobody reads the reply. */
  when: 'before' | 'after';
  request: string;
}

export type Command = Pick<ChildTask, 'verb' | 'options'>;

/** Runs a command in a process of its own, undisturbed. @returns its requests, in their order */
export async function requestsOf(lab: NovaLab, children: Children, command: Command): Promise<{ requests: string[]; result: ChildResult }> {
  const from = lab.cloud.fake.received.length;
  const result = await children.run({ root: lab.root, environment: lab.cloud.environment, ...command });
  return { requests: lab.cloud.fake.received.slice(from).map(lineOf), result };
}

/**
 * Where a command is worth killing: at each request that changes something, before and after it is done, and at each that reads. Of reads
 * that repeat, such as polls, the first two.
 */
export function pointsOf(requests: readonly string[]): KillPoint[] {
  const seen = new Map<string, number>();
  return requests.flatMap((request, index): KillPoint[] => {
    const count = (seen.get(request) ?? 0) + 1;
    seen.set(request, count);
    const at = index + 1;
    if (!isRead(request))
      return [
        { at, when: 'before', request },
        { at, when: 'after', request },
      ];
    return count <= 2 ? [{ at, when: 'before', request }] : [];
  });
}

/** Runs a command that is killed with SIGKILL at one of its requests. */
export async function runKilled(lab: NovaLab, children: Children, command: Command, { at, when }: KillPoint): Promise<ChildResult> {
  let count = 0;
  let kill = (): void => undefined;
  const isTime = (): boolean => {
    if (++count !== at) return false;
    kill();
    return true;
  };
  const takeBack = lab.cloud.fake.fail(isTime, when === 'before' ? 'refused' : 'lost');
  try {
    const onStart = (end: () => void): void => {
      kill = end;
    };
    return await children.run({ root: lab.root, environment: lab.cloud.environment, ...command }, { onStart });
  } finally {
    takeBack();
  }
}

/** Runs a command in a process of its own, undisturbed. @returns the changes of its files, in their order */
export async function changesOf(lab: NovaLab, children: Children, command: Command): Promise<string[]> {
  const log = join(lab.root, 'changes');
  const result = await children.run(
    { root: lab.root, environment: lab.cloud.environment, ...command },
    { variables: { CWT_CHANGES: log } },
  );
  if (result.outcome === undefined) throw new Error(`the command failed: ${result.error?.message}`);
  const lines = (await readFile(log, 'utf8')).trim().split('\n');
  await rm(log);
  return lines;
}

/** Runs a command that is killed with SIGKILL at one of its changes of files. @param at number of the change, from 1 */
export function runKilledAtChange(lab: NovaLab, children: Children, command: Command, at: number): Promise<ChildResult> {
  const variables = { CWT_KILL_AT: String(at) };
  return children.run({ root: lab.root, environment: lab.cloud.environment, ...command }, { variables });
}

/** Whether a request, as a line, changes nothing. */
export function isRead(request: string): boolean {
  return /^GET|^POST identity|os-getConsoleOutput$/.test(request);
}

/** A request without the ids that differ from run to run. */
function lineOf({ service, method, path, request }: Received): string {
  const route = (path.split('?')[0] ?? '').replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, '{id}');
  const action = route.endsWith('/action') ? ` ${Object.keys(request as object)[0]}` : '';
  return `${method} ${service}${route}${action}`;
}
