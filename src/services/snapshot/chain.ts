import type { ForeignDisk } from '../../core/domain/foreign-domain.js';
import { CowherdError } from '../../core/errors.js';
import { shellWord } from '../../core/quoting.js';
import type { ImageRef } from '../../core/snapshot/snapshot.js';
import type { Ports } from '../../ports/index.js';

const maxLinks = 64;

/** The backing chain of a disk's image, from the headers. Each image is opened in the format that the image above it records.
 * @param problems receives the reasons why the disk is not supported
 */
export async function readChain(
  ports: Ports,
  disk: ForeignDisk,
  options: { isOn: boolean; trustChain: boolean },
  problems: string[],
): Promise<ImageRef[]> {
  const below: ImageRef[] = [];
  const refuse = (reason: string): void => void problems.push(`disk ${disk.target}: ${reason}`);
  for (let image: ImageRef | undefined = disk.image, depth = 0; image !== undefined; depth++) {
    const found = await readLink(ports, image, depth === 0 && !options.isOn, options.trustChain);
    if (typeof found === 'string') {
      refuse(found);
      return below;
    }
    if (found !== undefined && depth >= maxLinks) {
      refuse(`its backing chain has more than ${maxLinks} files or a loop`);
      return below;
    }
    if (found !== undefined) below.push(found);
    image = found;
  }
  const spelled = disk.spelled;
  const isAsSpelled = spelled.every(({ path, format }, position) => below[position]?.path === path && below[position]?.format === format);
  if (!isAsSpelled || (disk.isEnded && spelled.length !== below.length)) {
    refuse(`the backing chain in its XML (${words(spelled)}) differs from the headers of its files (${words(below)})`);
  }
  return below;
}

/** @returns the next image; undefined at the end; a text if it cannot be used */
async function readLink(ports: Ports, image: ImageRef, mustBeClean: boolean, trustChain: boolean): Promise<ImageRef | string | undefined> {
  const { path, format } = image;
  const obstacle = await ports.disks.obstacle(path, 'read');
  if (obstacle !== undefined) return `${path}: ${obstacle}`;
  if (format === 'raw') return undefined;
  try {
    // Check the header before qemu-img opens the file and follows the paths in it.
    const header = await ports.disks.qcow2Header(path);
    if (header.encrypted) return `${path} is encrypted`;
    if (header.corrupt) return `${path} is marked corrupt: see "qemu-img check"`;
    if (header.externalDataFile) return `${path} keeps its data in an external file`;
    if (header.dirty && mustBeClean) return `${path} was not closed cleanly. Repair it: qemu-img check -r all ${shellWord(path)}`;
    const below = await ports.snapshotOverlays.backing(image);
    if (below === undefined) return undefined;
    if (!below.path.startsWith('/')) return `the backing file of ${path} is not a local file: ${below.path}`;
    if (below.format === 'qcow2' || below.format === 'raw') return { path: below.path, format: below.format };
    if (below.format !== undefined) return `${below.path} is in the format ${below.format}, not qcow2 or raw`;
    if (!trustChain) {
      return `${path} does not record the format of its backing file ${below.path}. Record it (qemu-img rebase -u -b ${shellWord(below.path)} -F qcow2|raw ${shellWord(path)}), or, if no guest could write to that file, detect its format with --trust-chain`;
    }
    return { path: below.path, format: await firstBytes(ports, below.path) };
  } catch (error) {
    if (error instanceof CowherdError) return error.message;
    throw error;
  }
}

async function firstBytes(ports: Ports, path: string): Promise<ImageRef['format']> {
  return ports.disks.qcow2Header(path).then(
    () => 'qcow2',
    () => 'raw',
  );
}

function words(chain: readonly ImageRef[]): string {
  return chain.length === 0 ? 'none' : chain.map(({ path, format }) => `${path} as ${format}`).join(', ');
}
