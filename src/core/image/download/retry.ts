/** When a download tries again. */

export interface RetryRules {
  /** Attempts in a row without progress. */
  attempts: number;
  /** Attempts at all. */
  totalAttempts: number;
  /** What an attempt must bring to count as progress, in bytes. */
  progressBytes: number;
  /** The first pause, in milliseconds; each further one is twice as long. */
  firstPauseMs: number;
  /** The longest pause that a server can ask for, in milliseconds. */
  maxPauseMs: number;
}

export const retryRules: RetryRules = {
  attempts: 5,
  totalAttempts: 100,
  progressBytes: 1024 ** 2,
  firstPauseMs: 1000,
  maxPauseMs: 60_000,
};

/** Counts the attempts of one download. */
export class Attempts {
  readonly #rules: RetryRules;
  readonly #random: () => number;
  /** Failed attempts since the last one with progress. */
  #failed = 0;
  #total = 0;

  /** @param random as Math.random: spreads the requests of many hosts after the same fault */
  constructor(rules: RetryRules, random: () => number) {
    this.#rules = rules;
    this.#random = random;
  }

  get failed(): number {
    return this.#failed;
  }

  /**
   * Counts a failed attempt.
   * @param bytes what it brought
   * @param retryAfterMs what the server asked for
   * @returns the pause before the next attempt in milliseconds; undefined if there is none
   */
  next(bytes: number, retryAfterMs = 0): number | undefined {
    const { attempts, totalAttempts, progressBytes, firstPauseMs, maxPauseMs } = this.#rules;
    this.#total += 1;
    this.#failed = bytes >= progressBytes ? 0 : this.#failed + 1;
    if (this.#failed >= attempts || this.#total >= totalAttempts) return undefined;
    const pause = firstPauseMs * 2 ** Math.max(0, this.#failed - 1) * (0.75 + this.#random() / 2);
    return Math.min(Math.max(pause, retryAfterMs), maxPauseMs);
  }
}

/** A failure after which the same request may succeed. */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** @param now milliseconds since the epoch @returns milliseconds; 0 if the header is missing or invalid */
export function parseRetryAfter(value: string | undefined, now: number): number {
  if (value === undefined) return 0;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}
