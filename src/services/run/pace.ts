import { setImmediate } from 'node:timers/promises';
import { CowherdError } from '../../core/errors.js';

/** Time slice of a loop, in milliseconds, before the process handles signals. */
const stretchMs = 50;

/** For CPU-bound loops over thousands of members: awaited once per member, it yields to the event loop from time to time, so that Ctrl-C is handled.
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
  return new CowherdError('INTERRUPTED', 'Interrupted while planning');
}
