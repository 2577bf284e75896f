import type { BaseRef } from '../core/fleet/record.js';
import type { BaseImage, Seal, WarmMemory } from '../core/image/base.js';
import type { SaveHead } from '../core/image/save-file.js';
import type { ImportProgress } from '../core/progress.js';
import type { DiskSpec } from '../core/spec/spec.js';

/** Ports for the saved memory of source VMs, from which clones are restored. */

/** A copy of a saved memory from which members are restored one after another: only its header differs between members. */
export interface MemorySlot {
  readonly path: string;
  /** Rewrites the header for this domain. */
  become(xml: string): Promise<void>;
  discard(): Promise<void>;
}

/** The spawn that froze a running VM. Written before the freeze, removed when the spawn's own intent is written. */
export interface Freeze {
  version: 1;
  /** Name and UUID of the source VM. */
  domain: string;
  uuid: string;
  startedAt: string;
  /** Other options of the spawn. */
  count: number;
  keepFrozen: boolean;
  start: boolean;
  /** Value of --wait. */
  wait?: string | undefined;
  timeoutMs?: number | undefined;
  concurrency?: number | undefined;
  bootConcurrency?: number | undefined;
  /** Addresses of the source VM's network cards and its types of host keys. */
  addresses: string[];
  hostKeyTypes: string[];
  /** Its memory size, the amount that libvirt writes. */
  memoryMiB: number;
  /** Disks and memory that were copied to the store: once set, the VM is not frozen again. */
  taken?: { base: BaseRef; disks: DiskSpec[]; facts: MemoryFacts /** Base images imported for it. */; imported: BaseRef[] } | undefined;
}

export type MemoryFacts = Omit<WarmMemory, 'digest' | 'seal' | 'allocatedBytes' | 'bytes'>;

export interface MemoryStore {
  /** Path of libvirt's managed save of a domain. */
  managedSave(domain: string): string;
  /** @throws STORE_FAILED; BASE_REFUSED if it is not a supported save file */
  read(path: string): Promise<SaveHead>;
  /** Copies a saved memory next to its base image, with a sync. Like the next two, only under the lock on base images. */
  take(base: BaseImage, file: string): Promise<void>;
  /** Reads the copied memory and records it with its base image. */
  record(base: BaseImage, facts: MemoryFacts, signal?: AbortSignal): Promise<BaseImage>;
  /** Removes a memory and its record. */
  drop(base: BaseImage): Promise<void>;
  /** Records the current file as the memory, after it was moved or copied and its content was compared. */
  reseal(base: BaseImage): Promise<void>;
  path(base: Pick<BaseImage, 'name' | 'digest'>): string;
  /** The current seal of the file; undefined if it is missing. */
  seal(base: Pick<BaseImage, 'name' | 'digest'>): Promise<Seal | undefined>;
  /** Reads the whole memory. @returns its sha256 */
  digest(base: BaseImage, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string>;
  /** Copies it into a fleet's directory. Leftovers of a killed run are removed at the end of the next operation. */
  openSlot(fleet: string, base: BaseImage): Promise<MemorySlot>;
  readFreeze(fleet: string): Promise<Freeze | undefined>;
  beginFreeze(fleet: string, freeze: Freeze): Promise<void>;
  /** Not an error if it does not exist. */
  endFreeze(fleet: string): Promise<void>;
}
