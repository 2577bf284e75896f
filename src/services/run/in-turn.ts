import type { ReadyStage } from '../../core/guest/stages.js';
import type { ProgressEvent, ProgressListener } from '../../core/progress.js';
import type { WorkOptions } from '../fleet/access.js';

/** Derives the options for one fleet from the options for all. */
export type Share = <W extends WorkOptions>(work: W) => W;

/** Runs the work of several fleets in order; the next one starts as soon as the previous one only waits for its guests.
 * @param onSettled called in the order of the subjects
 * @param isLast whether to stop after this result
 */
export async function inTurn<S, T>(
  subjects: readonly S[],
  work: (subject: S, share: Share) => Promise<T>,
  onSettled: (subject: S, result: PromiseSettledResult<T>) => void,
  isLast: (result: PromiseSettledResult<T>) => boolean,
): Promise<void> {
  const progress = new SummedProgress();
  let told = Promise.resolve();
  let isOver = false;
  for (const subject of subjects) {
    if (isOver) break;
    let onWaiting = (): void => undefined;
    const waiting = new Promise<void>((resolve) => {
      onWaiting = resolve;
    });
    const share: Share = (options) => ({ ...options, onWaiting, onProgress: progress.listenerOf(options.onProgress) });
    const settled = Promise.allSettled([work(subject, share)]).then(([result]) => {
      isOver ||= isLast(result);
      return result;
    });
    told = Promise.all([told, settled]).then(([, result]) => onSettled(subject, result));
    // A failure is thrown at the end: the others continue until then.
    told.catch(() => undefined);
    await Promise.race([settled, waiting]);
  }
  await told;
}

type StageEvent = Extract<ProgressEvent, { kind: 'stage' }>;

/** Sums the progress of each stage over several concurrent fleets. */
class SummedProgress {
  readonly #counts = new Map<string, Map<symbol, StageEvent>>();

  listenerOf(listener: ProgressListener | undefined): ProgressListener | undefined {
    if (listener === undefined) return undefined;
    const fleet = Symbol('fleet');
    return (event) => {
      if (event.kind !== 'stage') return listener(event);
      const counts = this.#counts.get(event.stage) ?? new Map<symbol, StageEvent>();
      this.#counts.set(event.stage, counts.set(fleet, event));
      const all = [...counts.values()];
      const sum = (key: 'done' | 'total' | 'failed'): number => all.reduce((total, one) => total + (one[key] ?? 0), 0);
      const pending = pendingOf(all);
      const merged = pending === undefined ? {} : { pending };
      listener({ ...event, done: sum('done'), total: sum('total'), failed: sum('failed'), ...merged });
    };
  }
}

function pendingOf(events: readonly StageEvent[]): StageEvent['pending'] {
  if (events.every(({ pending }) => pending === undefined)) return undefined;
  const merged = new Map<ReadyStage, Set<string>>();
  for (const { pending } of events)
    for (const [stage, names] of pending ?? []) merged.set(stage, new Set([...(merged.get(stage) ?? []), ...names]));
  return merged;
}
