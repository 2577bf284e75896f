import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Between two collections, in bytes. */
const intervalBytes = 16 * 1024 ** 2;

/**
 * Network buffers are garbage at once, but V8 lets about 64 MiB of them accumulate: more than everything else that a download needs.
 * @returns a function to call with the size of each chunk
 */
export function garbageLimit(): (bytes: number) => void {
  // There is no other way to ask for a collection.
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  let pending = 0;
  return (bytes) => {
    pending += bytes;
    if (pending < intervalBytes || typeof collect !== 'function') return;
    pending = 0;
    collect({ type: 'minor' });
  };
}
