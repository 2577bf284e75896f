import type { BaseImage, Seal, WarmMemory } from './core/base.js';
import type { SaveHead } from './core/save-file.js';
import type { ImportProgress } from './ports.js';

/** The calls that have to do with the memory of golden VMs, which clones go on from. */

/** A copy of a saved memory that one member after another is restored from: each needs a head of its own alone. */
export interface MemorySlot {
  readonly path: string;
  /** Makes it the memory of this domain. */
  become(xml: string): Promise<void>;
  discard(): Promise<void>;
}

/** Which spawn froze a running VM: on disk from before it is frozen until the spawn's own intent is. */
export interface Freeze {
  version: 1;
  /** Name and UUID of the golden VM. */
  domain: string;
  uuid: string;
  startedAt: string;
  count: number;
  keepFrozen: boolean;
}

export type MemoryFacts = Omit<WarmMemory, 'digest' | 'seal' | 'allocatedBytes' | 'bytes'>;

export interface MemoryStore {
  /** Where libvirt keeps the memory of a domain by a managed save. */
  managedSave(domain: string): string;
  /** @throws STORE_FAILED; BASE_REFUSED where it is not a save file of a kind that is known */
  read(path: string): Promise<SaveHead>;
  /**
   * Keeps a copy of a saved memory beside the base image that it belongs to, recorded together with it. Under the lock on base images.
   * @param release called once nothing more is read from the file
   */
  keep(base: BaseImage, file: string, facts: MemoryFacts, release: () => Promise<void>, signal?: AbortSignal): Promise<BaseImage>;
  path(base: Pick<BaseImage, 'name' | 'digest'>): string;
  /** What the file looks like now; undefined where it is gone. */
  seal(base: Pick<BaseImage, 'name' | 'digest'>): Promise<Seal | undefined>;
  /** Reads all of it. @returns its sha256 */
  digest(base: BaseImage, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string>;
  /** Copies it into a fleet's directory; what a run that was killed leaves goes at the end of the next operation. */
  openSlot(fleet: string, base: BaseImage): Promise<MemorySlot>;
  readFreeze(fleet: string): Promise<Freeze | undefined>;
  beginFreeze(fleet: string, freeze: Freeze): Promise<void>;
  /** What is gone already is fine. */
  endFreeze(fleet: string): Promise<void>;
}
