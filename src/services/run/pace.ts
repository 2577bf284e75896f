import { setImmediate } from 'node:timers/promises';
import { CowherdError } from '../../core/errors.js';

/** How long a loop may compute, in milliseconds, before the process looks at signals again. */
const stretchMs = 50;

/**
 * For loops that compute something for each of thousands of members: awaited once per member, it now and then lets the event loop
 * turn, which is when a Ctrl-C is seen.
 * @throws INTERRUPTED
 */
export function paced(signal: AbortSignal | undefined): () => Promise<void> {
  let began = performance.now();
  return async () => {
    if (performance.now() - began < stretchMs) return;
    await setImmediate();
    if (signal?.aborted === true) throw interrupted();
    began = performance.now();
  };
}

function interrupted(): CowherdError {
  return new CowherdError('INTERRUPTED', 'Interrupted while planning', {
    hint: 'Run the same command again. If something is unfinished, it says how to go on.',
  });
}
