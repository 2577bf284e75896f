import prettyBytes from 'pretty-bytes';
import { CowherdError } from '../../core/errors.js';
import type { Ports } from '../../ports/index.js';

/** Checks that a copy fits in the worst case.
 * @param doing what needs the space, as the subject of a sentence
 * @throws PREFLIGHT_FAILED, with the figures
 */
export async function assertRoom(ports: Pick<Ports, 'machine'>, directory: string, bytes: number, doing: string): Promise<void> {
  const { freeBytes } = await ports.machine.diskSpace(directory);
  if (bytes <= freeBytes) return;
  const [needed, free] = [bytes, freeBytes].map((count) => prettyBytes(count, { binary: true }));
  throw new CowherdError('PREFLIGHT_FAILED', `${doing} may need ${needed}, but ${directory} has only ${free} free; nothing was changed`, {
    hint: 'Free some space: "cowherd base prune" lists unused base images, "cowherd report" shows the use of the store.',
  });
}
