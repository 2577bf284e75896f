import { CowherdError } from '../../core/errors.js';
import { type BaseImage, formatBaseRef, goneDifference, sealDifferences } from '../../core/image/base.js';
import type { ImportProgress } from '../../core/progress.js';
import type { MemoryFile, Ports } from '../../ports/index.js';
import { fileDifferences } from '../clone/plan.js';
import type { WorkOptions } from '../fleet/access.js';

/** Seals base images whose files were replaced: a copied or restored file has another inode and mtime. */

/** Reads all of them before it seals any. @returns NAME@DIGEST of the sealed images @throws BASE_CHANGED */
export async function reseal(ports: Ports, { signal, onProgress }: WorkOptions): Promise<string[]> {
  const { bases } = await ports.bases.list();
  const moved: BaseImage[] = [];
  for (const base of bases) {
    const seal = await ports.bases.seal(base);
    // A missing image is reported by its users.
    if (seal === undefined || sealDifferences(base.seal, seal).length === 0) continue;
    const digest = await ports.bases.digest(
      base,
      (progress) => onProgress?.({ kind: 'bytes', what: `reading ${formatBaseRef(base)}`, ...progress }),
      signal,
    );
    if (digest !== base.digest) {
      throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef(base)} has changed: its content differs from the import`, {
        details: [base.path],
        hint: 'Every overlay on it may be corrupt. Restore the original file, then run this command again.',
      });
    }
    moved.push(base);
  }
  const memories = await movedMemories(ports, bases, { signal, onProgress });
  for (const base of moved) await ports.bases.reseal(base);
  for (const { name, digest } of memories) {
    // Read the record again: the image may just have been resealed.
    const base = await ports.bases.get({ name, digest });
    if (base !== undefined) await ports.memory.reseal(base);
  }
  return [...new Set([...moved, ...memories].map(formatBaseRef))];
}

/** Warm bases with a memory file that was replaced. A missing file is reported by the fleets that need it. */
async function movedMemories(ports: Ports, bases: readonly BaseImage[], { signal, onProgress }: WorkOptions): Promise<BaseImage[]> {
  const moved: BaseImage[] = [];
  for (const base of bases) {
    const changed: MemoryFile[] = [];
    let isWhole = true;
    for (const file of ports.memory.files(base)) {
      const differences = await fileDifferences(ports, file);
      if (differences.length > 0) changed.push(file);
      isWhole &&= !differences.includes(goneDifference);
    }
    if (!isWhole || changed.length === 0) continue;
    for (const { path, digest } of changed) {
      const tell = (progress: ImportProgress): void => onProgress?.({ kind: 'bytes', what: `reading ${path}`, ...progress });
      if ((await ports.memory.digest(path, tell, signal)) === digest) continue;
      throw new CowherdError('BASE_CHANGED', `The memory of ${formatBaseRef(base)} has changed since it was frozen`, {
        details: [path],
        hint: 'Restore the original file, then run this command again.',
      });
    }
    moved.push(base);
  }
  return moved;
}
