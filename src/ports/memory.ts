import type { BaseImage, Seal } from '../core/image/base.js';
import type { Freeze, MemoryFacts } from '../core/memory/freeze.js';
import type { SaveHead } from '../core/memory/save-file.js';
import type { ImportProgress } from '../core/progress.js';

export type { Freeze, MemoryFacts } from '../core/memory/freeze.js';

/** Ports for the saved memory of source VMs, from which clones are restored. */

/** A copy of a saved memory from which members are restored one after another: only its header differs between members. */
export interface MemorySlot {
  readonly path: string;
  /** Rewrites the header for this domain. */
  become(xml: string): Promise<void>;
  discard(): Promise<void>;
}

/** A file of a saved memory, as it was recorded. */
export interface MemoryFile {
  path: string;
  digest: string;
  seal: Seal;
}

/** How the memory of a base is split, so that clones share it. */
export interface Sharing {
  /** Size of the guest's memory. */
  bytes: number;
  /** Whether QEMU must be able to write to the file, although it maps it privately. */
  isWritable: boolean;
}

export interface MemoryStore {
  /** Path of libvirt's managed save of a domain. */
  managedSave(domain: string): string;
  /** @throws STORE_FAILED; BASE_REFUSED if it is not a supported save file */
  read(path: string): Promise<SaveHead>;
  /**
   * Stores a saved memory next to its base image, with a sync. Like the next two, only under the lock on base images.
   * @param sharing split it; undefined to copy it as it is
   * @returns why it could not be split and was copied instead
   */
  take(base: BaseImage, file: string, sharing: Sharing | undefined, signal?: AbortSignal): Promise<string | undefined>;
  /** Reads the stored memory and records it with its base image. @param isShared whether it was split */
  record(base: BaseImage, facts: MemoryFacts, isShared: boolean, signal?: AbortSignal): Promise<BaseImage>;
  /** Removes a memory and its record. */
  drop(base: BaseImage): Promise<void>;
  /** Records the current file as the memory, after it was moved or copied and its content was compared. */
  reseal(base: BaseImage): Promise<void>;
  /** The saved memory, or what is left of it after a split. */
  path(base: Pick<BaseImage, 'name' | 'digest'>): string;
  /** The memory that clones map, after a split. */
  ramPath(base: Pick<BaseImage, 'name' | 'digest'>): string;
  /** Its files, as recorded. */
  files(base: BaseImage): MemoryFile[];
  /** The current seal of a file; undefined if it is missing. */
  seal(path: string): Promise<Seal | undefined>;
  /** Reads a whole file. @returns its sha256 */
  digest(path: string, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string>;
  /**
   * Copies it into a fleet's directory. Leftovers of a killed run are removed at the end of the next operation.
   * @param isWhole with all the memory, also if it was split
   */
  openSlot(fleet: string, base: BaseImage, isWhole: boolean): Promise<MemorySlot>;
  readFreeze(fleet: string): Promise<Freeze | undefined>;
  beginFreeze(fleet: string, freeze: Freeze): Promise<void>;
  /** Not an error if it does not exist. */
  endFreeze(fleet: string): Promise<void>;
}
