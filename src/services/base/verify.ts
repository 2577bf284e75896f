import { CowherdError } from '../../core/errors.js';
import { type BaseImage, type BaseLayer, bringBackHint, formatBaseRef, goneDifference, sealDifferences } from '../../core/image/base.js';
import { layersOf } from '../../core/image/base-chain.js';
import type { ImportProgress } from '../../core/progress.js';
import { shellWord } from '../../core/quoting.js';
import type { Ports } from '../../ports/index.js';
import { fileDifferences } from '../clone/plan.js';
import type { WorkOptions } from '../fleet/access.js';
import type { BaseListing } from './bases.js';

/** Verifies the full content of base images. */

export interface VerifiedBase {
  name: string;
  digest: string;
  hash: BaseListing['hash'];
  path: string;
  /** Its backing images, also verified. */
  layers: string[];
  /** Warnings of qemu-img check that are not corruption, and writable files. */
  warning?: string;
}

/** Reads the whole image and all its backing images. @throws BASE_CHANGED if content or seal of a layer differs from the record; BASE_REFUSED if it is corrupt
 */
export async function verifyBase(ports: Ports, ref: string, options: WorkOptions): Promise<VerifiedBase> {
  const base = await ports.bases.find(ref);
  for (const layer of layersOf(base)) await assertContent(ports, layer, options);
  await assertMemory(ports, base, options);
  const checked = base.format === 'qcow2' ? await ports.images.check(base.path) : undefined;
  const warning = [checked, ...(await writableWarnings(ports, base))].filter((part) => part !== undefined).join('; ') || undefined;
  const layers = base.backing.map(formatBaseRef);
  return { name: base.name, digest: base.digest, hash: 'sha256', path: base.path, layers, ...(warning === undefined ? {} : { warning }) };
}

/** @throws BASE_CHANGED */
async function assertMemory(ports: Pick<Ports, 'memory'>, base: BaseImage, { signal, onProgress }: WorkOptions): Promise<void> {
  for (const file of ports.memory.files(base)) {
    const { path } = file;
    const differences = await fileDifferences(ports, file);
    const tell = (progress: ImportProgress): void => onProgress?.({ kind: 'bytes', what: `reading ${path}`, ...progress });
    const digest = differences.includes(goneDifference) ? undefined : await ports.memory.digest(path, tell, signal);
    if (digest === file.digest && differences.length === 0) continue;
    throw new CowherdError(
      'BASE_CHANGED',
      `The memory of ${formatBaseRef(base)} has changed since it was frozen: ${differences.join(', ') || 'its content differs'}`,
      {
        details: [path, `recorded sha256 ${file.digest}`, ...(digest === undefined ? [] : [`on disk  sha256 ${digest}`])],
        hint: 'No clones can be created from it. Restore the original file with its timestamps, or freeze the source VM again for a new fleet.',
      },
    );
  }
}

/** Files of an intact image that are writable. */
async function writableWarnings(ports: Pick<Ports, 'bases'>, base: BaseImage): Promise<string[]> {
  const writable = await Promise.all(layersOf(base).map(async ({ path }) => ((await ports.bases.isWritable(path)) ? [path] : [])));
  return writable.flat().map((path) => `writable, protect it: chmod a-w ${shellWord(path)}`);
}

async function assertContent(ports: Pick<Ports, 'bases'>, layer: BaseLayer, { signal, onProgress }: WorkOptions): Promise<void> {
  const ref = formatBaseRef(layer);
  const differences = sealDifferences(layer.seal, await ports.bases.seal(layer));
  const bringBack = bringBackHint(layer);
  if (differences.includes(goneDifference)) {
    throw new CowherdError('BASE_CHANGED', `Base image ${ref} is missing`, { details: [layer.path], hint: bringBack });
  }
  const digest = await ports.bases.digest(
    layer,
    (progress) => onProgress?.({ kind: 'bytes', what: `reading ${ref}`, ...progress }),
    signal,
  );
  if (digest !== layer.digest) {
    throw new CowherdError('BASE_CHANGED', `The content of base image ${ref} has changed`, {
      details: [`recorded sha256 ${layer.digest}`, `on disk  sha256 ${digest}`, ...differences],
      hint: bringBack,
    });
  }
  if (differences.length > 0) {
    throw new CowherdError('BASE_CHANGED', `The file of base image ${ref} was changed, but not its content: ${differences.join(', ')}`, {
      details: [layer.path],
      hint: `Import the original file again to reseal it: cowherd base add FILE --name ${layer.name}`,
    });
  }
}
