/** Lists the files of the store by name, without opening them. */

export type StoreRoom = 'bases' | 'fleets' | 'snapshots' | 'probes';

export interface StoreEntry {
  path: string;
  /** state: records of a fleet, base image or domain. image: a base image. disk: a member's disk or a snapshot's overlay. memory: the memory that clones map. companion: other files of a member. leftover: a temporary file.
   */
  role: 'state' | 'image' | 'memory' | 'disk' | 'companion' | 'leftover' | 'unknown';
  /** File name without extension: a member, a disk, the start of a digest or a probe. */
  stem: string;
  /** Bytes on disk. */
  bytes: number;
  /** Permission bits. */
  mode: number;
  /** For files with guest data or secrets. exposed: readable by others than the owner and QEMU. closed: a base image that QEMU cannot read.
   */
  readers?: 'fine' | 'exposed' | 'closed';
  /** Milliseconds since the epoch. */
  modifiedAt: number;
}

export interface StoreSurvey {
  /** The subdirectories: names of base images or fleets, or UUIDs. Probes have none. */
  owners(room: StoreRoom): Promise<string[]>;
  /** The files in a subdirectory or in the directory itself; symbolic links are not followed. */
  entries(room: StoreRoom, owner?: string): Promise<StoreEntry[]>;
  /** Unlinks a leftover. Only under the lock of its owner. @throws STORE_FAILED */
  remove(room: StoreRoom, entry: StoreEntry): Promise<void>;
  /** Removes a subdirectory if it contains no files. @returns whether it was removed */
  removeEmpty(room: StoreRoom, owner: string): Promise<boolean>;
  /** Makes a file readable only for its owner and QEMU, and an image read-only. @throws STORE_FAILED without permission */
  protect(entry: StoreEntry): Promise<void>;
}
