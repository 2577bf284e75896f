/** When a request is sent again. Pure: times are given, and the caller waits. */

/** What became of one attempt. */
export type Attempt =
  | { kind: 'reply'; status: number; retryAfter: string | undefined }
  /** No connection: the request was not sent. */
  | { kind: 'not-sent' }
  /** The connection or the time limit ended before the reply: the server may have acted. */
  | { kind: 'lost' };

/**
 * safe: it changes nothing, or repeating it leads to the same state.
 * unsafe: repeating it may do it twice, such as a POST that creates.
 */
export type Repetition = 'safe' | 'unsafe';

export interface RetryLimits {
  /** Attempts in total. */
  attempts: number;
  /** ms from the first attempt until the last one begins. */
  totalMs: number;
  /** First pause without a Retry-After, in ms; doubled each time. */
  firstPauseMs: number;
  longestPauseMs: number;
}

export const retryLimits: RetryLimits = { attempts: 8, totalMs: 120_000, firstPauseMs: 250, longestPauseMs: 10_000 };

export type RetryDecision = { repeat: true; pauseMs: number } | { repeat: false; why: 'final' | 'limit' };

/**
 * @param number of the attempt that just ended, from 1
 * @param elapsedMs since the first attempt began
 * @param now wall clock in ms, for a Retry-After with a date
 */
export function afterAttempt(
  attempt: Attempt,
  { number, elapsedMs, now, repetition }: { number: number; elapsedMs: number; now: number; repetition: Repetition },
  limits: RetryLimits = retryLimits,
): RetryDecision {
  if (!isRepeatable(attempt, repetition)) return { repeat: false, why: 'final' };
  const backoff = Math.min(limits.firstPauseMs * 2 ** (number - 1), limits.longestPauseMs);
  const asked = attempt.kind === 'reply' ? retryAfterMs(attempt.retryAfter, now) : undefined;
  // A server that asks for 0 s must not be asked again at once.
  const pauseMs = Math.max(asked ?? backoff, limits.firstPauseMs);
  if (number >= limits.attempts || elapsedMs + pauseMs > limits.totalMs) return { repeat: false, why: 'limit' };
  return { repeat: true, pauseMs };
}

function isRepeatable(attempt: Attempt, repetition: Repetition): boolean {
  if (attempt.kind === 'not-sent') return true;
  if (attempt.kind === 'lost') return repetition === 'safe';
  // 429 is sent instead of the work. 503 may come from a proxy, after the request was passed on.
  if (attempt.status === 429) return true;
  return repetition === 'safe' && [500, 502, 503, 504].includes(attempt.status);
}

/** Whether the server may have acted although the attempt did not succeed. */
export function isUncertain(attempt: Attempt): boolean {
  return attempt.kind === 'lost' || (attempt.kind === 'reply' && attempt.status >= 500);
}

/** ms of a Retry-After header: seconds or an HTTP date; undefined if it has neither. */
export function retryAfterMs(value: string | undefined, now: number): number | undefined {
  const text = value?.trim() ?? '';
  if (/^\d{1,9}(\.\d+)?$/.test(text)) return Math.ceil(Number(text) * 1000);
  if (!/[a-z]{3}/i.test(text)) return undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
