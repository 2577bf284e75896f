import type { ProgressEvent, ProgressListener } from '../../core/progress.js';

type StageEvent = Extract<ProgressEvent, { kind: 'stage' }>;

/** Steps of every member. */
const common: ReadonlySet<string> = new Set(['overlay', 'rebase', 'define']);

/** Progress of work in batches: counts the steps of every member over all batches. */
export class BatchProgress {
  readonly #onProgress: ProgressListener | undefined;
  readonly #total: number;
  #latest = new Map<string, StageEvent>();
  #earlier = new Map<string, { done: number; failed: number }>();

  /** @param total members of all batches */
  constructor(onProgress: ProgressListener | undefined, total: number) {
    this.#onProgress = onProgress;
    this.#total = total;
  }

  /** Must be called before each batch. */
  next(): void {
    for (const [stage, { done, failed = 0 }] of this.#latest) this.#earlier.set(stage, { done, failed });
  }

  readonly listener: ProgressListener = (event) => {
    if (event.kind !== 'stage' || !common.has(event.stage)) return this.#onProgress?.(event);
    const earlier = this.#earlier.get(event.stage) ?? { done: 0, failed: 0 };
    const sum = { ...event, done: earlier.done + event.done, failed: earlier.failed + (event.failed ?? 0), total: this.#total };
    this.#latest.set(event.stage, sum);
    this.#onProgress?.(sum);
  };
}
