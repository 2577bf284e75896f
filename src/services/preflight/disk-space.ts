import prettyBytes from 'pretty-bytes';
import { CowherdError } from '../../core/errors.js';
import type { Ports } from '../../ports/index.js';

/**
 * Whether a copy fits where it is to go, even if all of it is needed.
 * @param doing what takes the room, as the subject of a sentence
 * @throws PREFLIGHT_FAILED, with the figures
 */
export async function assertRoom(ports: Pick<Ports, 'machine'>, directory: string, bytes: number, doing: string): Promise<void> {
  const { freeBytes } = await ports.machine.diskSpace(directory);
  if (bytes <= freeBytes) return;
  const [needed, free] = [bytes, freeBytes].map((count) => prettyBytes(count, { binary: true }));
  throw new CowherdError('PREFLIGHT_FAILED', `${doing} may take ${needed}, and ${directory} has ${free} left; nothing was changed`, {
    hint: 'Free some space: "cowherd base prune" lists images that nobody stands on, "cowherd report" shows who uses the rest.',
  });
}
