import pLimit from 'p-limit';
import { CowherdError } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { StageTime } from '../../core/fleet/operation.js';
import type { StepName } from '../../core/fleet/plan/member-plan.js';
import type { ProgressListener } from '../../core/progress.js';
import type { Clock } from '../../ports/machine.js';

/** Executes the steps of a plan: many members at once, the steps of each in order. A failing member does not stop the others. */

export interface MemberWork<M extends MemberIdentity = MemberIdentity> {
  member: M;
  steps: readonly StepName[];
  /** Steps that are already done; counted with the others. */
  earlier?: readonly StepName[];
}

export interface RunOptions {
  /** Members in progress at the same time. */
  concurrency: number;
  /** Number of these that may be starting. */
  bootConcurrency: number;
  clock: Clock;
  signal?: AbortSignal | undefined;
  onProgress?: ProgressListener | undefined;
}

export type MemberResult =
  | { member: MemberIdentity; kind: 'done' }
  | { member: MemberIdentity; kind: 'failed'; step: StepName; error: unknown }
  /** Interrupted before all its steps were done. */
  | { member: MemberIdentity; kind: 'cancelled' };

export interface RunResult {
  results: MemberResult[];
  stages: StageTime[];
}

export interface Performer<M extends MemberIdentity> {
  step(step: StepName, member: M): Promise<void>;
  /** Called when all steps of a member are done, before it counts as done. */
  finish(member: M): Promise<void>;
  /** Called when a step of a member failed. Must not fail. */
  failed?(member: M, error: unknown): Promise<void>;
}

/** Steps that are bound by CPU time. */
const booting: ReadonlySet<StepName> = new Set<StepName>([
  'start',
  'create',
  'rebuild',
  'restore',
  'startPaused',
  'checkpoint',
  'restoreCheckpoint',
]);

/** Runs the work. After cancellation no new members or steps start, but running steps finish. At most `concurrency` members are in an intermediate state at any time.
 */
export async function runMembers<M extends MemberIdentity>(
  work: readonly MemberWork<M>[],
  performer: Performer<M>,
  options: RunOptions,
): Promise<RunResult> {
  const watch = new StageWatch(work, options);
  const members = pLimit(options.concurrency);
  const boots = pLimit(options.bootConcurrency);

  const runMember = async ({ member, steps }: MemberWork<M>): Promise<MemberResult> => {
    for (const step of steps) {
      // Check for cancellation inside the boot limiter: a start may wait there for long.
      const perform = async (): Promise<'done' | 'cancelled'> => {
        if (isAborted(options.signal)) return 'cancelled';
        await watch.time(step, () => performer.step(step, member));
        return 'done';
      };
      try {
        if ((await (booting.has(step) ? boots(perform) : perform())) === 'cancelled') return { member, kind: 'cancelled' };
      } catch (error) {
        if (isInterruption(error)) return { member, kind: 'cancelled' };
        await performer.failed?.(member, error);
        return { member, kind: 'failed', step, error };
      }
    }
    try {
      await performer.finish(member);
    } catch (error) {
      return isInterruption(error) ? { member, kind: 'cancelled' } : { member, kind: 'failed', step: steps.at(-1) ?? 'overlay', error };
    }
    return { member, kind: 'done' };
  };

  const results = await Promise.all(work.map((item) => members(() => runMember(item))));
  return { results, stages: watch.stages() };
}

function isInterruption(error: unknown): boolean {
  return error instanceof CowherdError && error.code === 'INTERRUPTED';
}

/** Whether every member was processed, successfully or not. An operation with cancelled members is left for resume. */
export function isComplete({ results }: RunResult): boolean {
  return results.every((result) => result.kind !== 'cancelled');
}

/** A function, so that TypeScript does not narrow `aborted`. */
export function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** Measures each stage from its first start to its last end, and reports progress. */
class StageWatch {
  readonly #options: RunOptions;
  readonly #stages = new Map<StepName, { total: number; done: number; failed: number; began: number; ended: number }>();

  constructor(work: readonly MemberWork[], options: RunOptions) {
    this.#options = options;
    const now = options.clock.monotonic();
    for (const { steps, earlier = [] } of work) {
      for (const step of steps) this.#stage(step).total++;
      for (const step of earlier) {
        const stage = this.#stage(step);
        stage.total++;
        stage.done++;
        stage.began = stage.ended = now;
      }
    }
  }

  #stage(step: StepName): { total: number; done: number; failed: number; began: number; ended: number } {
    const known = this.#stages.get(step);
    if (known !== undefined) return known;
    const stage = { total: 0, done: 0, failed: 0, began: Number.POSITIVE_INFINITY, ended: 0 };
    this.#stages.set(step, stage);
    return stage;
  }

  async time(step: StepName, work: () => Promise<void>): Promise<void> {
    const stage = this.#stages.get(step);
    if (stage === undefined) throw new Error(`step ${step} is in no plan`);
    stage.began = Math.min(stage.began, this.#options.clock.monotonic());
    const tell = (): void => {
      const { done, total, failed } = stage;
      this.#options.onProgress?.({ kind: 'stage', stage: step, done, total, failed });
    };
    try {
      await work();
    } catch (error) {
      if (!isInterruption(error)) stage.failed++;
      tell();
      throw error;
    }
    stage.done++;
    stage.ended = this.#options.clock.monotonic();
    tell();
  }

  stages(): StageTime[] {
    return [...this.#stages]
      .filter(([, stage]) => stage.done > 0)
      .map(([name, { began, ended, done }]) => ({ name, seconds: Math.round(ended - began) / 1000, count: done }));
  }
}
