import { CowherdError } from '../../core/errors.js';
import { type BaseImage, formatBaseRef, goneDifference, sealDifferences } from '../../core/image/base.js';
import type { Ports } from '../../ports/index.js';
import { memoryDifferences } from '../clone/plan.js';
import type { WorkOptions } from '../fleet/access.js';

/** Files of base images that are others now: a copied or restored file has another inode and time. */

/** All are read before any is sealed. @returns NAME@DIGEST of those that were @throws BASE_CHANGED */
export async function reseal(ports: Ports, { signal, onProgress }: WorkOptions): Promise<string[]> {
  const { bases } = await ports.bases.list();
  const moved: BaseImage[] = [];
  for (const base of bases) {
    const seal = await ports.bases.seal(base);
    // One that is gone is told by whatever stands on it.
    if (seal === undefined || sealDifferences(base.seal, seal).length === 0) continue;
    const digest = await ports.bases.digest(
      base,
      (progress) => onProgress?.({ kind: 'bytes', what: `reading ${formatBaseRef(base)}`, ...progress }),
      signal,
    );
    if (digest !== base.digest) {
      throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef(base)} is not what was imported: its content differs`, {
        details: [base.path],
        hint: 'Every overlay on it may be corrupt. Bring back the original file, then run this again.',
      });
    }
    moved.push(base);
  }
  const memories = await movedMemories(ports, bases, { signal, onProgress });
  for (const base of moved) await ports.bases.reseal(base);
  for (const { name, digest } of memories) {
    // As it is recorded now: its image may just have been sealed again.
    const base = await ports.bases.get({ name, digest });
    if (base !== undefined) await ports.memory.reseal(base);
  }
  return [...new Set([...moved, ...memories].map(formatBaseRef))];
}

/** Memories of warm bases that are other files now. One that is gone is told by whatever goes on from it. */
async function movedMemories(ports: Ports, bases: readonly BaseImage[], { signal, onProgress }: WorkOptions): Promise<BaseImage[]> {
  const moved: BaseImage[] = [];
  for (const base of bases) {
    const differences = await memoryDifferences(ports, base);
    if (base.warm === undefined || differences.length === 0 || differences.includes(goneDifference)) continue;
    const path = ports.memory.path(base);
    const tell = (progress: { doneBytes: number; totalBytes: number }): void =>
      onProgress?.({ kind: 'bytes', what: `reading ${path}`, ...progress });
    if ((await ports.memory.digest(base, tell, signal)) !== base.warm.digest) {
      throw new CowherdError('BASE_CHANGED', `The memory of ${formatBaseRef(base)} is not what was frozen: its content differs`, {
        details: [path],
        hint: 'Bring back the file as it was, then run this again.',
      });
    }
    moved.push(base);
  }
  return moved;
}
