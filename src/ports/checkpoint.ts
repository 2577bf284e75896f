import type { CheckpointRecord } from '../core/snapshot/checkpoint.js';

/** Memory and disk of one moment, inside a member's overlays. */

/** A snapshot as it lies in an image. */
export interface HeldSnapshot {
  /** sha256 of all that it holds: disk, memory, devices. */
  digest: string;
  /** Bytes of memory and devices; 0 in images that have the disk alone. */
  stateBytes: number;
}

export interface CheckpointStore {
  /** @returns undefined where there is none; @throws STATE_DAMAGED */
  read(fleet: string, member: string): Promise<CheckpointRecord | undefined>;
  /** Of all members that have one, by name; those that cannot be read are left out. */
  list(fleet: string): Promise<Map<string, CheckpointRecord>>;
  write(fleet: string, member: string, record: CheckpointRecord): Promise<void>;
  /** What it is of stays in the overlay until that is replaced. */
  forget(fleet: string, member: string): Promise<void>;
  /** The snapshots in an image that are cowherd's; it may be open elsewhere. Empty where it cannot be read as a qcow2 image. */
  snapshots(path: string): Promise<Array<{ name: string; stateBytes: number }>>;
  /** Their names. */
  tags(path: string): Promise<string[]>;
  /** Whether the disk as it is now has memory hanging on it: so a load leaves it, and it would outlive its snapshot. */
  hasLooseState(path: string): Promise<boolean>;
  /** Reads all that a snapshot holds. @returns undefined where there is none of that name, or not all of it */
  held(path: string, tag: string, signal?: AbortSignal): Promise<HeldSnapshot | undefined>;
}

/**
 * QEMU's own monitor, behind libvirt's back: a running guest is saved into its disks and put back to that moment, in the same process.
 * Disks are named by their files.
 */
export interface Monitor {
  /** Freezes the guest while it is saved. @param memoryBytes of the guest, for how long that may take */
  save(domain: string, tag: string, disks: readonly string[], memoryBytes: number): Promise<void>;
  /** A guest that ran runs on from there; one that was paused stays so. */
  load(domain: string, tag: string, disks: readonly string[], memoryBytes: number): Promise<void>;
  /** Waits until what an earlier run has asked for is over, and forgets how it ended. */
  settle(domain: string, memoryBytes: number): Promise<void>;
  drop(domain: string, tag: string, disks: readonly string[]): Promise<void>;
  /** Version of the process that runs the guest, with its package's. */
  version(domain: string): Promise<string>;
}
