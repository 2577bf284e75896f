import type { Clock } from '../../ports/machine.js';

/** One look at the host that serves all members that ask at about that moment. */
export class CachedPoll<T> {
  readonly #clock: Clock;
  readonly #forMs: number;
  readonly #look: () => Promise<T>;
  #seen: Promise<T> | undefined;
  #takenAt = 0;

  /** @param forMs how long an answer serves */
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
      // One look that fails says nothing about the guests: what was seen last holds until the next.
      this.#seen = this.#look().catch((error: unknown) => earlier ?? Promise.reject(error));
    }
    return this.#seen;
  }
}
