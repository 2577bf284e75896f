import type { Clock } from '../../ports/machine.js';

/** A poll of the host whose result is shared by all members for a short time. */
export class CachedPoll<T> {
  readonly #clock: Clock;
  readonly #forMs: number;
  readonly #look: () => Promise<T>;
  #seen: Promise<T> | undefined;
  #takenAt = 0;

  /** @param forMs cache time of a result */
  constructor(clock: Clock, forMs: number, look: () => Promise<T>) {
    this.#clock = clock;
    this.#forMs = forMs;
    this.#look = look;
  }

  get(): Promise<T> {
    const now = this.#clock.monotonic();
    if (this.#seen === undefined || now - this.#takenAt >= this.#forMs) {
      this.#takenAt = now;
      const earlier = this.#seen;
      // If a poll fails, keep the last result until the next one.
      this.#seen = this.#look().catch((error: unknown) => earlier ?? Promise.reject(error));
    }
    return this.#seen;
  }
}
