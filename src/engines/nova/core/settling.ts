import { excerpt } from '../../../core/guest/text.js';
import type { Server } from './servers.js';

/** When a task of the cloud is done. Pure: the caller asks the cloud, and gives each answer to {@link observe}. */

export type Task =
  | { kind: 'create' }
  /** Ends in the state that the server had before: a stopped one boots briefly, and is stopped again. either: that is not known. */
  | { kind: 'rebuild'; imageId: string; endsIn: 'ACTIVE' | 'SHUTOFF' | 'either' }
  | { kind: 'start' }
  | { kind: 'stop' }
  | { kind: 'delete' };

/** What the cloud answered. absent: it has no such server. */
export type Answer = Pick<Server, 'status' | 'taskState' | 'imageId' | 'fault'> | 'absent';

export type Verdict =
  | { state: 'working' }
  | { state: 'settled' }
  /** @param reason one line, with the fault message of the cloud */
  | { state: 'failed'; reason: string }
  /** The cloud is still busy with it, or its state is not known, but nothing changes. */
  | { state: 'stuck'; reason: string };

export interface Watch {
  task: Task;
  /** Times in ms of one monotonic clock. */
  since: number;
  lastChange: number;
  /** The last answer, to notice changes. */
  last: string;
}

export interface SettlingLimits {
  /** For how long after the request an unchanged server may be idle: the answer may be older than the request. */
  graceMs: number;
  /** Without a change, the task is stuck. */
  stuckMs: number;
}

export const settlingLimits: SettlingLimits = { graceMs: 10_000, stuckMs: 300_000 };

/** Begins to watch a task that the cloud has accepted. */
export function watchTask(task: Task, now: number): Watch {
  return { task, since: now, lastChange: now, last: '' };
}

/** Takes one answer into account. */
export function observe(
  watch: Watch,
  answer: Answer,
  now: number,
  limits: SettlingLimits = settlingLimits,
): { watch: Watch; verdict: Verdict } {
  const last = answer === 'absent' ? 'absent' : JSON.stringify([answer.status, answer.taskState, answer.imageId ?? null]);
  const next = last === watch.last ? watch : { ...watch, last, lastChange: now };
  return { watch: next, verdict: judge(next, answer, now, limits) };
}

function judge(watch: Watch, answer: Answer, now: number, limits: SettlingLimits): Verdict {
  const { task } = watch;
  if (answer === 'absent') return task.kind === 'delete' ? { state: 'settled' } : failed('the server does not exist any more');
  if (isSettled(task, answer)) return { state: 'settled' };
  const idleFor = now - watch.lastChange;
  const isStuck = idleFor >= limits.stuckMs;
  if (answer.taskState !== null || isTransient(answer.status)) {
    const what = answer.taskState === null ? answer.status : `${answer.status}, ${answer.taskState}`;
    return isStuck ? { state: 'stuck', reason: `no change for ${Math.round(idleFor / 1000)} s (${excerpt(what)})` } : { state: 'working' };
  }
  // Idle in another state. Just after the request, this may be the state from before.
  const isRecent = now - watch.since < limits.graceMs;
  if (isRecent && !(task.kind === 'create' && answer.status === 'ERROR')) return { state: 'working' };
  if (isBetween(task, answer) && idleFor < limits.graceMs) return { state: 'working' };
  const fault = excerpt(answer.fault ?? '');
  return failed(answer.status === 'ERROR' && fault !== '' ? fault : reasonOf(task, answer));
}

/** For a moment, a stopped server that was rebuilt runs without a task: then the cloud stops it again. */
function isBetween(task: Task, { status, imageId }: Exclude<Answer, 'absent'>): boolean {
  return task.kind === 'rebuild' && task.endsIn === 'SHUTOFF' && status === 'ACTIVE' && imageId === task.imageId;
}

function failed(reason: string): Verdict {
  return { state: 'failed', reason };
}

function reasonOf(task: Task, { status, imageId }: Exclude<Answer, 'absent'>): string {
  if (task.kind === 'rebuild' && imageId !== task.imageId) return `the server still has image ${excerpt(imageId ?? 'none')}`;
  return `the server is ${excerpt(status)}, without a task`;
}

function isSettled(task: Task, { status, taskState, imageId }: Exclude<Answer, 'absent'>): boolean {
  // A cloud that keeps deleted servers for a time shows them as SOFT_DELETED.
  if (task.kind === 'delete') return status === 'DELETED' || status === 'SOFT_DELETED';
  if (taskState !== null) return false;
  if (task.kind === 'rebuild') return imageId === task.imageId && endStates[task.endsIn].includes(status);
  return status === (task.kind === 'stop' ? 'SHUTOFF' : 'ACTIVE');
}

const endStates = { ACTIVE: ['ACTIVE'], SHUTOFF: ['SHUTOFF'], either: ['ACTIVE', 'SHUTOFF'] };

/** States that end by themselves, and states that cowherd does not know. */
function isTransient(status: string): boolean {
  return !idleStates.has(status);
}

const idleStates: ReadonlySet<string> = new Set([
  ...['ACTIVE', 'SHUTOFF', 'ERROR', 'PAUSED', 'SUSPENDED', 'RESCUE', 'SHELVED', 'SHELVED_OFFLOADED', 'VERIFY_RESIZE'],
  ...['DELETED', 'SOFT_DELETED'],
]);

const taskStates: Record<Task['kind'], ReadonlySet<string>> = {
  create: new Set(['scheduling', 'block_device_mapping', 'networking', 'spawning']),
  // Not powering-off, with which the rebuild of a stopped server ends: a stop that someone asked for looks the same.
  rebuild: new Set(['rebuilding', 'rebuild_block_device_mapping', 'rebuild_spawning']),
  start: new Set(['powering-on']),
  stop: new Set(['powering-off']),
  delete: new Set(['deleting', 'soft-deleting']),
};

/** Whether the cloud is already doing a task, or has done it: then a refusal because of another task is none. */
export function isUnderWay(task: Task, answer: Answer): boolean {
  if (answer === 'absent') return task.kind === 'delete';
  if (answer.taskState === null) return task.kind !== 'rebuild' && isSettled(task, answer);
  if (task.kind === 'rebuild' && answer.imageId !== task.imageId) return false;
  return taskStates[task.kind].has(answer.taskState);
}
