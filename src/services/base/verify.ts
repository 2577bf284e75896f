import { CowherdError } from '../../core/errors.js';
import { type BaseImage, type BaseLayer, bringBackHint, formatBaseRef, goneDifference, sealDifferences } from '../../core/image/base.js';
import { layersOf } from '../../core/image/base-chain.js';
import type { Ports } from '../../ports/index.js';
import { memoryDifferences } from '../clone/plan.js';
import type { WorkOptions } from '../fleet/access.js';

/** Whether base images still are what was imported: all of them is read again. */

export interface VerifiedBase {
  name: string;
  digest: string;
  path: string;
  /** Those below it, whose content was read as well. */
  layers: string[];
  /** What qemu-img check remarks without calling it corrupt, and files that may be written to. */
  warning?: string;
}

/**
 * Reads the whole image again, with all that is below it.
 * @throws BASE_CHANGED where content or seal of a layer is not as recorded; BASE_REFUSED where it is corrupt
 */
export async function verifyBase(ports: Ports, ref: string, options: WorkOptions): Promise<VerifiedBase> {
  const base = await ports.bases.find(ref);
  for (const layer of layersOf(base)) await assertContent(ports, layer, options);
  await assertMemory(ports, base, options);
  const checked = base.format === 'qcow2' ? await ports.images.check(base.path) : undefined;
  const warning = [checked, ...(await writableWarnings(ports, base))].filter((part) => part !== undefined).join('; ') || undefined;
  const layers = base.backing.map(formatBaseRef);
  return { name: base.name, digest: base.digest, path: base.path, layers, ...(warning === undefined ? {} : { warning }) };
}

/** @throws BASE_CHANGED */
async function assertMemory(ports: Pick<Ports, 'memory'>, base: BaseImage, { signal, onProgress }: WorkOptions): Promise<void> {
  if (base.warm === undefined) return;
  const path = ports.memory.path(base);
  const differences = await memoryDifferences(ports, base);
  const tell = (progress: { doneBytes: number; totalBytes: number }): void =>
    onProgress?.({ kind: 'bytes', what: `reading ${path}`, ...progress });
  const digest = differences.includes(goneDifference) ? undefined : await ports.memory.digest(base, tell, signal);
  if (digest === base.warm.digest && differences.length === 0) return;
  throw new CowherdError(
    'BASE_CHANGED',
    `The memory of ${formatBaseRef(base)} is not what was frozen: ${differences.join(', ') || 'its content'}`,
    {
      details: [path, `recorded sha256 ${base.warm.digest}`, ...(digest === undefined ? [] : [`on disk  sha256 ${digest}`])],
      hint: 'No clones are made of it. Bring back the file as it was, with its times; or freeze the golden VM again for a new fleet.',
    },
  );
}

/** Its content is sound, and nothing but care keeps it so. */
async function writableWarnings(ports: Pick<Ports, 'bases'>, base: BaseImage): Promise<string[]> {
  const writable = await Promise.all(layersOf(base).map(async ({ path }) => ((await ports.bases.isWritable(path)) ? [path] : [])));
  return writable.flat().map((path) => `it may be written to: chmod a-w ${path}`);
}

async function assertContent(ports: Pick<Ports, 'bases'>, layer: BaseLayer, { signal, onProgress }: WorkOptions): Promise<void> {
  const ref = formatBaseRef(layer);
  const differences = sealDifferences(layer.seal, await ports.bases.seal(layer));
  const bringBack = bringBackHint(layer);
  if (differences.includes(goneDifference)) {
    throw new CowherdError('BASE_CHANGED', `Base image ${ref} is gone`, { details: [layer.path], hint: bringBack });
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
    throw new CowherdError('BASE_CHANGED', `Base image ${ref} was touched, but its content is as it was: ${differences.join(', ')}`, {
      details: [layer.path],
      hint: `Import the original file again to seal it anew: cowherd base add FILE --name ${layer.name}`,
    });
  }
}
