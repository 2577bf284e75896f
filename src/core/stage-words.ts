import type { ProgressEvent } from './progress.js';

type Stage = Extract<ProgressEvent, { kind: 'stage' }>['stage'] | 'import';

/** Names of stages: while running, and in lists of past or planned steps. In the order in which a member passes them. */
const words: Record<Stage, { doing: string; done: string }> = {
  import: { doing: 'importing', done: 'import' },
  delete: { doing: 'deleting', done: 'delete' },
  create: { doing: 'creating', done: 'create' },
  rebuild: { doing: 'rebuilding', done: 'rebuild' },
  shutdown: { doing: 'shutting down', done: 'shut down' },
  stop: { doing: 'stopping', done: 'stop' },
  rebase: { doing: 'rebasing', done: 'rebase' },
  overlay: { doing: 'creating disks', done: 'create disks' },
  grow: { doing: 'enlarging disks', done: 'enlarge disks' },
  seed: { doing: 'writing seeds', done: 'write seeds' },
  define: { doing: 'defining', done: 'define' },
  start: { doing: 'starting', done: 'start' },
  restore: { doing: 'restoring', done: 'restore memory' },
  undefine: { doing: 'undefining', done: 'undefine' },
  unlink: { doing: 'removing files', done: 'remove files' },
  resume: { doing: 'resuming', done: 'resume' },
  checkpoint: { doing: 'saving', done: 'save checkpoint' },
  forget: { doing: 'dropping', done: 'drop checkpoint' },
  verify: { doing: 'checking', done: 'check' },
  startPaused: { doing: 'starting', done: 'start paused' },
  restoreCheckpoint: { doing: 'restoring', done: 'restore checkpoint' },
  fixUp: { doing: 'updating guests', done: 'update guest' },
  wait: { doing: 'waiting', done: 'wait' },
  exec: { doing: 'running', done: 'run' },
  copy: { doing: 'copying', done: 'copy' },
  compact: { doing: 'compacting', done: 'compact' },
  relocate: { doing: 'relocating', done: 'relocate' },
};

/** The words for a stage that arrives as text; the text itself if it is none. */
export function wordsOf(stage: string): { doing: string; done: string } {
  return Object.hasOwn(words, stage) ? words[stage as Stage] : { doing: stage, done: stage };
}

const order = new Map(Object.keys(words).map((stage, position) => [stage, position]));

export function stageOrder(stage: Stage): number {
  return order.get(stage) ?? 0;
}

export function doingWord(stage: Stage): string {
  return words[stage].doing;
}

export function stageWord(stage: Stage): string {
  return words[stage].done;
}

/** The result for a member that failed at a step. */
const failures: Partial<Record<Stage, string>> = {
  create: 'failed to create',
  rebuild: 'failed to rebuild',
  delete: 'failed to delete',
  stop: 'failed to stop',
  shutdown: 'failed to shut down',
  overlay: 'failed to create disks',
  seed: 'failed to write seed',
  define: 'failed to define',
  start: 'failed to start',
  startPaused: 'failed to start',
  resume: 'failed to resume',
  restore: 'failed to restore',
  restoreCheckpoint: 'failed to restore',
  undefine: 'failed to undefine',
  unlink: 'failed to remove files',
  wait: 'not ready in time',
  rebase: 'failed to rebase',
  checkpoint: 'failed to save',
  fixUp: 'failed to update',
};

/** @param stage undefined for a member that failed before any step */
export function failureWord(stage: Stage | undefined): string {
  return (stage === undefined ? undefined : failures[stage]) ?? 'failed';
}
