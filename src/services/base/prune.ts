import { formatBaseRef } from '../../core/image/base.js';
import { baseKey, unreferencedBases } from '../../core/image/base-chain.js';
import type { Ports } from '../../ports/index.js';
import type { WorkOptions } from '../fleet/access.js';
import { ownBytes } from './bases.js';
import { verifiedUsers } from './users.js';

export interface PruneOptions extends Pick<WorkOptions, 'signal' | 'onProgress'> {
  /** Remove the images; without it, only list them. */
  remove: boolean;
  keepNewest?: boolean | undefined;
}

export interface PruneResult {
  dryRun: boolean;
  images: Array<{ ref: string; name: string; digest: string; importedAt: string; allocatedBytes: number }>;
  /** Bytes freed, or that would be freed. */
  freedBytes: number;
  /** Number of base images kept. */
  kept: number;
  /** Parts of unfinished downloads, removed or to be removed; absent on platforms without downloads. */
  downloads?: { files: number; bytes: number };
}

/** Removes base images that no fleet, unfinished operation, domain or layered image uses. @throws BASE_IN_USE if that cannot be determined for all of them
 */
export function pruneBases(ports: Ports, { remove, keepNewest = false, ...options }: PruneOptions): Promise<PruneResult> {
  const run = async (): Promise<PruneResult> => {
    const { bases, users, domains } = await verifiedUsers(ports);
    const unreferenced = unreferencedBases(bases, (base) => users.has(baseKey(base)) || domains.has(baseKey(base)), keepNewest);
    if (remove) for (const base of unreferenced) await ports.bases.remove(base);
    return {
      dryRun: !remove,
      images: unreferenced.map((base) => ({
        ref: formatBaseRef(base),
        name: base.name,
        digest: base.digest,
        importedAt: base.importedAt,
        allocatedBytes: ownBytes(base),
      })),
      freedBytes: unreferenced.reduce((sum, base) => sum + ownBytes(base), 0),
      kept: bases.length - unreferenced.length,
      downloads: await ports.downloads.leftovers({ remove }),
    };
  };
  // Listing takes no lock: it would wait for long imports.
  return remove ? ports.bases.locked(run, options) : run();
}
