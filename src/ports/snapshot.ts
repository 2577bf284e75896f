import type { Seal } from '../core/image/base.js';
import type { Qcow2Header } from '../core/image/qcow2-header.js';
import type { SnapshotFiles } from '../core/snapshot/plan.js';
import type { DiskFormat, ImageRef, SnapshotJournal, SnapshotRecord } from '../core/snapshot/snapshot.js';

/** Ports for snapshots of foreign domains. */

/** Domains with state in libvirt besides their XML, by name. */
export interface ManagedState {
  transient: ReadonlySet<string>;
  managedSave: ReadonlySet<string>;
  /** libvirt's own snapshots, internal and external. */
  snapshots: ReadonlySet<string>;
  checkpoints: ReadonlySet<string>;
}

export interface ForeignDomains {
  /** The XML definition including passwords, so that it can be defined again without loss. Undefined if the domain does not exist. */
  definition(domain: string): Promise<string | undefined>;
  /** The live XML of a running domain, which may differ from the definition. Undefined if the domain does not exist. */
  running(domain: string): Promise<string | undefined>;
  /** Path of libvirt's NVRAM for a domain whose definition does not contain it. */
  nvramPath(name: string): string;
  managedState(): Promise<ManagedState>;
}

/** Image files inside and outside the store. */
export interface DiskFiles {
  /** Follows symbolic links. Undefined if there is no file. */
  seal(path: string): Promise<Seal | undefined>;
  /** The path without symbolic links; unchanged if it does not exist. */
  realPath(path: string): Promise<string>;
  /** Undefined if there is no file. */
  allocatedBytes(path: string): Promise<number | undefined>;
  /** Reads the header of a qcow2 file. @throws FILE_NOT_FOUND, BASE_REFUSED if it is not qcow2 */
  qcow2Header(path: string): Promise<Qcow2Header>;
  /** Possible backing files according to the header, regardless of the file name; for finding the users of an image. A relative name is resolved from the directory of the given path and of its real path.
   * @returns none if there is no backing file or it is not on this host
   * @throws FILE_NOT_FOUND if it cannot be read; BASE_REFUSED if the header is ambiguous
   */
  backingFiles(path: string): Promise<string[]>;
  /** Equal for all paths of one file, including hard links; the path itself if there is no file. */
  identity(path: string): Promise<string>;
  /** Why this user cannot read or write a file, including {@link isNotThere}; undefined if it can. */
  obstacle(path: string, access: 'read' | 'write'): Promise<string | undefined>;
  /** Files of a directory. @param isDeep include subdirectories */
  filesIn(directory: string, isDeep: boolean): Promise<string[]>;
  /** Replaces a file's content atomically with that of another file; owner and mode are kept. */
  replaceContent(from: string, to: string): Promise<void>;
  /** Syncs the file to disk. */
  sync(path: string): Promise<void>;
}

/** qemu-img for overlays outside of fleets. */
export interface SnapshotOverlays {
  /** Creates an empty overlay with a sync; an existing file is overwritten. */
  create(path: string, backing: ImageRef, signal?: AbortSignal): Promise<void>;
  /** The backing file in an image's header. @throws BASE_REFUSED if its data is in an external file */
  backing(image: ImageRef): Promise<{ path: string; format: string | undefined } | undefined>;
  virtualBytes(path: string, format: DiskFormat): Promise<number>;
  /** Commits an overlay into its backing file. The overlay is not changed, so that this can be repeated. */
  commit(overlay: string, onProgress: (percent: number) => void, signal?: AbortSignal): Promise<void>;
}

export interface SnapshotStore {
  /** UUIDs of the domains that have a directory. */
  list(): Promise<string[]>;
  /** @throws STATE_DAMAGED */
  read(uuid: string): Promise<SnapshotRecord | undefined>;
  /** A record without levels is removed. */
  write(record: SnapshotRecord): Promise<void>;
  /** @throws LOCKED, naming the holder */
  lock(uuid: string, name: string): Promise<{ release(): Promise<void> }>;
  directory(uuid: string): string;
  files(uuid: string): SnapshotFiles;
  /** Creates the parent directory of a file. */
  makeRoom(path: string): Promise<void>;
  /** Copies a small file into the store, readable by this user only. */
  keep(from: string, to: string): Promise<void>;
  /** Removes files of the directory, and directories that become empty. */
  remove(uuid: string, paths: readonly string[]): Promise<void>;
  /** @throws STATE_DAMAGED */
  journal(uuid: string): Promise<SnapshotJournal | undefined>;
  /** Synced when it returns. */
  writeJournal(journal: SnapshotJournal): Promise<void>;
  endJournal(uuid: string): Promise<void>;
}
