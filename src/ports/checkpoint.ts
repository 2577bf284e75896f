import type { CheckpointRecord } from '../core/snapshot/checkpoint.js';

/** Checkpoints: memory and disk of the same moment, stored in a member's overlays. */

/** A snapshot inside an image. */
export interface HeldSnapshot {
  /** Digest of its whole content: disk, memory, devices. */
  digest: string;
  /** Bytes of memory and devices; 0 in images with disk data only. */
  stateBytes: number;
}

export interface CheckpointStore {
  /** @returns undefined if there is none; @throws STATE_DAMAGED */
  read(fleet: string, member: string): Promise<CheckpointRecord | undefined>;
  /** Checkpoints by member name; unreadable records are skipped. */
  list(fleet: string): Promise<Map<string, CheckpointRecord>>;
  write(fleet: string, member: string, record: CheckpointRecord): Promise<void>;
  /** Removes only the record: the snapshot stays in the overlay until that is replaced. */
  forget(fleet: string, member: string): Promise<void>;
  /** cowherd's snapshots in an image, which may be in use. Empty if it is not a readable qcow2 image. */
  snapshots(path: string): Promise<Array<{ name: string; stateBytes: number }>>;
  /** Their names. */
  tags(path: string): Promise<string[]>;
  /** Whether the active disk state refers to saved memory: a load leaves it like that, and the memory would outlive its snapshot. */
  hasLooseState(path: string): Promise<boolean>;
  /** Reads the whole content of a snapshot.
   * @param like a digest to compare the result with: the same algorithm is used
   * @returns undefined if there is no such snapshot or it is incomplete
   */
  held(path: string, tag: string, signal?: AbortSignal, like?: string): Promise<HeldSnapshot | undefined>;
}

/** QEMU's monitor, bypassing libvirt: saves a running guest into its disks and restores it in the same process. Disks are identified by their files.
 */
export interface Monitor {
  /** Saves the guest, which is paused meanwhile. @param memoryBytes memory of the guest, for the time limit */
  save(domain: string, tag: string, disks: readonly string[], memoryBytes: number): Promise<void>;
  /** Restores a snapshot. A running guest continues from there; a paused one stays paused. */
  load(domain: string, tag: string, disks: readonly string[], memoryBytes: number): Promise<void>;
  /** Waits for jobs of an earlier run and discards their results. */
  settle(domain: string, memoryBytes: number): Promise<void>;
  drop(domain: string, tag: string, disks: readonly string[]): Promise<void>;
  /** Version of the QEMU process and its package. */
  version(domain: string): Promise<string>;
}
