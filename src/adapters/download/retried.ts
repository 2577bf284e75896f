import { setTimeout as pause } from 'node:timers/promises';
import { CowherdError } from '../../core/errors.js';
import { Attempts } from '../../core/image/download/retry.js';
import { shownUrl } from '../../core/image/download/url.js';
import { AttemptFailure, downloadError } from './failures.js';
import type { DownloadLimits } from './limits.js';

export interface RetryContext {
  url: URL;
  limits: DownloadLimits;
  signal?: AbortSignal | undefined;
  /** Bytes that the last attempt brought. */
  brought?: () => number;
  onNote?: ((text: string) => void) | undefined;
}

/**
 * Repeats an attempt until it succeeds, or another one would not help.
 * @throws DOWNLOAD_FAILED, INTERRUPTED
 */
export async function retried<T>(attempt: () => Promise<T>, context: RetryContext): Promise<T> {
  const { url, limits, signal, brought = () => 0, onNote } = context;
  const attempts = new Attempts(limits.retry, limits.random);
  try {
    for (;;) {
      signal?.throwIfAborted();
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof AttemptFailure)) throw error;
        signal?.throwIfAborted();
        const wait = error.facts.isTransient ? attempts.next(brought(), error.facts.retryAfterMs) : undefined;
        if (wait === undefined) throw error;
        const ms = error.facts.isImmediate === true ? 0 : wait;
        const when = ms === 0 ? 'Trying again.' : `Trying again in ${Math.ceil(ms / 1000)} s.`;
        const count = attempts.failed > 1 ? ` (attempt ${attempts.failed} of ${limits.retry.attempts})` : '';
        onNote?.(`Downloading ${shownUrl(url)}: ${error.message}${count}. ${when}`);
        await pause(ms, undefined, { signal });
      }
    }
  } catch (error) {
    if (error instanceof CowherdError) throw error;
    if (signal?.aborted === true) {
      throw new CowherdError('INTERRUPTED', `Interrupted while downloading ${shownUrl(url)}`, {
        hint: 'Run the same command again: it continues the download.',
        cause: error,
      });
    }
    throw error instanceof AttemptFailure ? downloadError(url, error) : error;
  }
}
