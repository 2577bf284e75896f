import type { BaseRef } from '../core/fleet/record.js';
import type { BaseImage, Seal, WarmMemory } from '../core/image/base.js';
import type { SaveHead } from '../core/image/save-file.js';
import type { DiskSpec } from '../core/spec/spec.js';
import type { ImportProgress } from './bases.js';

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
  /** What the spawn was asked for besides. */
  count: number;
  keepFrozen: boolean;
  start: boolean;
  /** As --wait says it. */
  wait?: string | undefined;
  timeoutMs?: number | undefined;
  concurrency?: number | undefined;
  bootConcurrency?: number | undefined;
  /** What the golden VM's cards had, and what kinds of host keys it had, when it was asked. */
  addresses: string[];
  hostKeyTypes: string[];
  /** How much it had, which is what libvirt writes. */
  memoryMiB: number;
  /** Disks and memory of one moment that are in the store: from here on nothing is frozen again. */
  taken?: { base: BaseRef; disks: DiskSpec[]; facts: MemoryFacts /** Base images that came in for it. */; imported: BaseRef[] } | undefined;
}

export type MemoryFacts = Omit<WarmMemory, 'digest' | 'seal' | 'allocatedBytes' | 'bytes'>;

export interface MemoryStore {
  /** Where libvirt keeps the memory of a domain by a managed save. */
  managedSave(domain: string): string;
  /** @throws STORE_FAILED; BASE_REFUSED where it is not a save file of a kind that is known */
  read(path: string): Promise<SaveHead>;
  /** Puts a copy of a saved memory beside the base image that it belongs to, synced. Under the lock on base images, as the two that follow. */
  take(base: BaseImage, file: string): Promise<void>;
  /** Reads what was taken, and records it together with its base image. */
  record(base: BaseImage, facts: MemoryFacts, signal?: AbortSignal): Promise<BaseImage>;
  /** Takes a memory away again, and what is recorded of it. */
  drop(base: BaseImage): Promise<void>;
  /** Of a memory that was moved or copied, and has the content that was frozen: another file is that from now on. */
  reseal(base: BaseImage): Promise<void>;
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
