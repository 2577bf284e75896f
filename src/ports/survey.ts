/** What lies in the store, by its names alone: nothing is opened. */

export type StoreRoom = 'bases' | 'fleets' | 'snapshots' | 'probes';

export interface StoreEntry {
  path: string;
  /**
   * state: what cowherd keeps of a fleet, a base image or a domain. image: of a base image. disk: of a member, or an overlay of a
   * snapshot. companion: what goes with a member's disks. leftover: what is only there while a run writes.
   */
  role: 'state' | 'image' | 'disk' | 'companion' | 'leftover' | 'unknown';
  /** What the file is called without its ending: a member, a disk of one, the beginning of a digest, a probe. */
  stem: string;
  /** Bytes on disk. */
  bytes: number;
  /** Permission bits. */
  mode: number;
  /**
   * Of what holds something that a guest knows, or a person calls a secret. exposed: others than its owner and QEMU may read it. closed: of
   * a base image that QEMU may not read.
   */
  readers?: 'fine' | 'exposed' | 'closed';
  /** Milliseconds since the epoch. */
  modifiedAt: number;
}

export interface StoreSurvey {
  /** The directories of a room: names of base images or fleets, UUIDs. None for probes, which have no directories. */
  owners(room: StoreRoom): Promise<string[]>;
  /** The files in one of these directories, or in the room itself; symbolic links are told as they are. */
  entries(room: StoreRoom, owner?: string): Promise<StoreEntry[]>;
  /** Unlinks a leftover. Only under the lock of what it belongs to. @throws STORE_FAILED */
  remove(room: StoreRoom, entry: StoreEntry): Promise<void>;
  /** Removes a directory of a room with the empty ones in it. @returns whether it is gone; one that has a file in it stays */
  removeEmpty(room: StoreRoom, owner: string): Promise<boolean>;
  /** Lets its owner and QEMU read a file, and nobody else; an image, nobody write to it. @throws STORE_FAILED where this user may not */
  protect(entry: StoreEntry): Promise<void>;
}
