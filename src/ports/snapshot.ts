import type { Seal } from '../core/image/base.js';
import type { Qcow2Header } from '../core/image/qcow2-header.js';
import type { SnapshotFiles } from '../core/snapshot/plan.js';
import type { DiskFormat, ImageRef, SnapshotJournal, SnapshotRecord } from '../core/snapshot/snapshot.js';

/** The calls that have to do with snapshots of domains that cowherd did not make. */

/** What libvirt keeps of domains beside their XML; names of domains. */
export interface ManagedState {
  transient: ReadonlySet<string>;
  managedSave: ReadonlySet<string>;
  /** libvirt's own snapshots, internal and external. */
  snapshots: ReadonlySet<string>;
  checkpoints: ReadonlySet<string>;
}

export interface ForeignDomains {
  /** The XML as it is defined, with the passwords in it: what can be defined again without a loss. Undefined where it is gone. */
  definition(domain: string): Promise<string | undefined>;
  /** The XML of a running domain as it runs, which may differ from the definition. Undefined where it is gone. */
  running(domain: string): Promise<string | undefined>;
  /** Where libvirt keeps the firmware's variables of a domain whose definition does not say. */
  nvramPath(name: string): string;
  managedState(): Promise<ManagedState>;
}

/** Image files wherever they are. */
export interface DiskFiles {
  /** Follows symbolic links. Undefined where there is no file. */
  seal(path: string): Promise<Seal | undefined>;
  /** Without symbolic links on the way; the path itself where it leads nowhere. */
  realPath(path: string): Promise<string>;
  /** Undefined where there is no file. */
  allocatedBytes(path: string): Promise<number | undefined>;
  /** What a qcow2 file says of itself. @throws FILE_NOT_FOUND, BASE_REFUSED where it is none */
  qcow2Header(path: string): Promise<Qcow2Header>;
  /**
   * The files that the first bytes may mean as the backing file, whatever the file is called; for finding out who stands on an
   * image. A relative name counts from the directory of the path as it is given, and from that without symbolic links.
   * @returns none where there is no backing file, or it is none of this host's
   * @throws FILE_NOT_FOUND where it cannot be read; BASE_REFUSED where nobody can tell what it means
   */
  backingFiles(path: string): Promise<string[]>;
  /** The same for every path of one file, hard links too; the path itself where there is none. */
  identity(path: string): Promise<string>;
  /** Why this user cannot read or write a file, {@link isNotThere} included; undefined where nothing keeps them. */
  obstacle(path: string, access: 'read' | 'write'): Promise<string | undefined>;
  /** Files of a directory, with those below it where that is asked for. */
  filesIn(directory: string, isDeep: boolean): Promise<string[]>;
  /** Puts a file's content in place of another one's, whole or not at all, with the owner and mode of what is replaced. */
  replaceContent(from: string, to: string): Promise<void>;
  /** Has the content written to the disk. */
  sync(path: string): Promise<void>;
}

/** qemu-img, for overlays outside of fleets. */
export interface OverlayTool {
  /** An empty overlay, written to the disk. What is there already is written over. */
  create(path: string, backing: ImageRef, signal?: AbortSignal): Promise<void>;
  /** What an image says of its backing file. @throws BASE_REFUSED where it keeps its data elsewhere */
  backing(image: ImageRef): Promise<{ path: string; format: string | undefined } | undefined>;
  virtualBytes(path: string, format: DiskFormat): Promise<number>;
  /** Writes what an overlay holds into what it stands on; the overlay stays as it is, so that it may be done again. */
  commit(overlay: string, onProgress: (percent: number) => void, signal?: AbortSignal): Promise<void>;
}

export interface SnapshotStore {
  /** UUIDs of the domains that have a directory. */
  list(): Promise<string[]>;
  /** @throws STATE_DAMAGED */
  read(uuid: string): Promise<SnapshotRecord | undefined>;
  /** Removes the record of a domain without a level. */
  write(record: SnapshotRecord): Promise<void>;
  /** @throws LOCKED, naming the holder */
  lock(uuid: string, name: string): Promise<{ release(): Promise<void> }>;
  directory(uuid: string): string;
  files(uuid: string): SnapshotFiles;
  /** Makes the directory that a file will be in. */
  makeRoom(path: string): Promise<void>;
  /** Copies a small file into the store, for nobody else to read. */
  keep(from: string, to: string): Promise<void>;
  /** Removes files of the directory, and directories that get empty by it. */
  remove(uuid: string, paths: readonly string[]): Promise<void>;
  /** @throws STATE_DAMAGED */
  journal(uuid: string): Promise<SnapshotJournal | undefined>;
  /** On the disk when it returns. */
  writeJournal(journal: SnapshotJournal): Promise<void>;
  endJournal(uuid: string): Promise<void>;
}
