import type { MemberFiles, Platform } from '../core/domain/template.js';
import type { CowherdError } from '../core/errors.js';
import type { DomainState, MemberMark } from '../core/fleet/observation.js';
import type { Operation, Unfinished } from '../core/fleet/operation.js';
import type { BaseRef, FleetRecord } from '../core/fleet/record.js';
import type { GuestText } from '../core/guest/text.js';
import type { AcceleratorAnswer, AcceleratorQuestion } from '../core/host/accelerator.js';
import type { AcceleratorChoice } from '../core/host/cpu.js';
import type { Ksm } from '../core/host/ksm.js';
import type { ProcessMemory } from '../core/host/process-memory.js';
import type { PathObstacle } from '../core/host/reachability.js';
import type { BaseImage, BaseLayer, BaseRecord, Seal } from '../core/image/base.js';
import type { GuestFacts } from '../core/image/hygiene.js';
import type { LockHolder } from '../core/lock.js';
import type { ImportProgress, ProgressListener } from '../core/progress.js';
import type { SourceKind } from '../core/spec/spec.js';
import type { CheckpointStore, Monitor } from './checkpoint.js';
import type { GuestAgent, LocalFiles, Networks, RemoteShell, SeedStore } from './guest.js';
import type { MemoryStore } from './memory.js';
import type { DiskFiles, ForeignDomains, OverlayTool, SnapshotStore } from './snapshot.js';
import type { StoreSurvey } from './survey.js';

export type * from './checkpoint.js';
export type * from './guest.js';
export type * from './memory.js';
export type * from './snapshot.js';
export type * from './survey.js';

/**
 * The few calls that the services need from the outside. An instance belongs to one host and one connection. Every call may
 * fail with a CowherdError; what is already as asked is success.
 */

export interface Clock {
  /** Milliseconds, monotonic. */
  monotonic(): number;
  /** Wall clock. */
  now(): Date;
  /** Resolves after the time or at once on abort; never rejects. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

export interface DomainDefinition {
  name: string;
  xml: string;
}

export interface Hypervisor {
  readonly uri: string;
  /** Whether it is the system daemon, which runs QEMU as a user of its own. */
  readonly isSystem: boolean;
  listDomains(): Promise<DomainState[]>;
  /** Makes a disk of a running domain larger, which its guest sees at once. @param path of the disk's file */
  growDisk(name: string, path: string, virtualBytes: number): Promise<void>;
  /** Of one domain, now. @throws DOMAIN_NOT_FOUND */
  stateOf(name: string): Promise<Pick<DomainState, 'state' | 'reason'>>;
  /**
   * The marks of those domains that carry one. Domains that went away meanwhile are left out.
   * @param failed takes the errors of domains that could not be read, by name; left out, the first one is thrown
   */
  readMarks(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, MemberMark>>;
  /** The XML of domains as they are defined. Domains that went away meanwhile are left out. @param failed as in {@link readMarks} */
  readXml(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, string>>;
  /** @param options.validate hold it against libvirt's schema first */
  define(definition: DomainDefinition, options?: { validate?: boolean }): Promise<void>;
  /** Starts a domain that is not kept when it ends: for probes. */
  createTransient(definition: DomainDefinition): Promise<void>;
  /** @param savedBytes how much memory libvirt has kept of it, for how long that may take */
  start(name: string, savedBytes?: number): Promise<void>;
  /** Starts it with its guest held before the first instruction. */
  startPaused(name: string): Promise<void>;
  /** Lets a paused guest go on; what its disk refused is tried again. */
  resume(name: string): Promise<void>;
  /** Of domains that a disk error may have paused: which disks, and libvirt's word for why, e.g. `vda: no space`. Those that do not answer are left out. */
  readDiskErrors(names: readonly string[]): Promise<Map<string, string>>;
  /** Ends the guest at once. */
  destroy(name: string): Promise<void>;
  /** Asks the guest to shut down, by its agent if it answers, else by ACPI; returns when asked. */
  shutdown(name: string): Promise<void>;
  /** With NVRAM, TPM state, managed save, and the records of snapshots and checkpoints. Never touches disks. */
  undefine(name: string): Promise<void>;
  /** What libvirt keeps of snapshots and checkpoints that were made with it, by their names. */
  snapshotsOf(name: string): Promise<{ snapshots: string[]; checkpoints: string[] }>;
  /** Names of domains that libvirt keeps snapshots or checkpoints of. */
  listSnapshotted(): Promise<Set<string>>;
  /** Has libvirt forget them. Never touches disks. */
  forgetSnapshots(name: string): Promise<void>;
  /** Removes the image of a managed save, if there is one: its memory does not belong to a fresh disk. */
  forgetSavedState(name: string): Promise<void>;
  /** Stops a running guest with its memory saved where libvirt keeps it: the next start goes on from there. */
  saveManaged(name: string, memoryBytes: number): Promise<void>;
  /** Brings a domain that is off up from a file with its memory; it is paused then. */
  restorePaused(name: string, file: string, memoryBytes: number): Promise<void>;
  /** Plugs the cable of a network card of a running domain in or out. */
  setLink(name: string, mac: string, isUp: boolean): Promise<void>;
  /** Names of domains that are off with their memory saved (managed save): a start goes on where they were. */
  listSaved(): Promise<Set<string>>;
  /** Gives the terminal to a domain's console. @returns virsh's exit code */
  attachConsole(name: string): Promise<number>;
  platform(virtType: 'kvm' | 'qemu'): Promise<Platform>;
  versions(): Promise<{ libvirt: string; hypervisor: string }>;
  /** uid and gid that QEMU runs as; undefined where libvirt does not change them. */
  qemuUser(): Promise<{ uid: number; gid: number } | undefined>;
  close(): Promise<void>;
}

export interface ImageInfo {
  format: string;
  virtualBytes: number;
  /** As its header names it; undefined where it stands on nothing. */
  backing?: { path: string; format: string };
  /** Names of internal snapshots and dirty bitmaps: a copy of the disk would lose them. */
  extras: string[];
}

export interface ImageFile {
  path: string;
  format: 'qcow2' | 'raw';
}

export interface ConvertRequest {
  source: ImageFile;
  /** A new file; one that is there is overwritten, and keeps its mode. */
  target: ImageFile;
  /** Write an overlay on this image, with only what differs from it. Left out: everything, in one file. */
  backing?: ImageFile | undefined;
  compress?: boolean | undefined;
  onProgress?: ((percent: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ImageTool {
  version(): Promise<string>;
  /** @param isInUse a guest may write to it meanwhile */
  info(path: string, format: 'qcow2' | 'raw', isInUse?: boolean): Promise<ImageInfo>;
  /** @throws BASE_REFUSED where it is corrupt; @returns a warning where clusters are leaked */
  check(path: string, signal?: AbortSignal): Promise<string | undefined>;
  /** The bytes of a fresh, empty overlay on a base image. @param virtualBytes its size for the guest; left out, as large as that */
  freshOverlay(base: BaseImage, scratchPath: string, virtualBytes?: number): Promise<Buffer>;
  /** Makes a qcow2 image larger that nobody has open; one that is as large already stays as it is. In place. */
  grow(path: string, virtualBytes: number): Promise<void>;
  /** The bytes of a blank qcow2 disk. @param virtualBytes its size for the guest */
  blankDisk(virtualBytes: number, scratchPath: string): Promise<Buffer>;
  /**
   * Makes an overlay stand on another base image, with what the guest sees unchanged: what the two differ in is copied into it.
   * In place; nobody may have it open. One that stands there already stays as it is.
   */
  rebase(overlay: string, base: BaseImage, signal?: AbortSignal): Promise<void>;
  /** Has an overlay name another path as its backing file, which must be the same image: nothing is read or copied. In place. */
  repoint(overlay: string, base: Pick<BaseImage, 'path' | 'format'>): Promise<void>;
  /** Removes an internal snapshot of an image that nobody has open; one that is not there is fine. In place. */
  dropSnapshot(path: string, tag: string): Promise<void>;
  /** Copies the disk that an image and everything below it make. */
  convert(request: ConvertRequest): Promise<void>;
  /** The most bytes that a flattened qcow2 copy of an image can take. */
  measure(image: ImageFile): Promise<number>;
  /** Whether a guest would see the same disk in both, to its last byte and its size. */
  isSameDisk(one: ImageFile, other: ImageFile, signal?: AbortSignal): Promise<boolean>;
}

export interface ImportRequest {
  path: string;
  format?: 'qcow2' | 'raw' | undefined;
  trustChain: boolean;
  name?: string | undefined;
  onProgress?: ((progress: ImportProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ImportResult {
  base: BaseImage;
  how: 'reflinked' | 'copied' | 'flattened' | 'layered' | 'already there';
  warning?: string;
}

/** What an import would come to. */
export interface ImportPreview extends ImportResult {
  /** False for an image that would be flattened: only the import itself shows what that gives. */
  isDigestKnown: boolean;
}

export interface PromotionRequest {
  /** The disk of a member that is off. */
  overlay: string;
  /** What it stands on, with its seals compared. */
  base: BaseImage;
  name: string;
  /** Stand on that base image, with only what differs from it. */
  layered: boolean;
  promotedFrom: NonNullable<BaseRecord['promotedFrom']>;
  onProgress?: ((progress: ImportProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ExportRequest {
  base: BaseImage;
  target: ImageFile;
  compress: boolean;
  onProgress?: ((percent: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface BaseLockOptions {
  signal?: AbortSignal | undefined;
  /** Told which process is waited for. */
  onProgress?: ProgressListener | undefined;
  /** How long to wait for another run; ten minutes where it is left out. For other programs it is seconds. */
  waitSeconds?: number | undefined;
  /** Leave what killed runs left, which is removed otherwise. */
  keepLeftovers?: boolean | undefined;
}

export interface BaseStore {
  list(): Promise<{ bases: BaseImage[]; damaged: Array<{ path: string; reason: string }> }>;
  /** @param ref `name`, `name@digest12` or a digest of at least 12 digits; @throws BASE_NOT_FOUND */
  find(ref: string): Promise<BaseImage>;
  /** The one that a record means; undefined where it is gone. */
  get(ref: BaseRef): Promise<BaseImage | undefined>;
  import(request: ImportRequest): Promise<ImportResult>;
  /** What {@link import} would come to, with nothing written. @throws as it would */
  preview(request: ImportRequest): Promise<ImportPreview>;
  /** Makes a base image of a member's disk. */
  promote(request: PromotionRequest): Promise<ImportResult>;
  /** Writes it with all that is below it to one file outside the store. @returns bytes on disk; @throws BAD_USAGE where it exists */
  export(request: ExportRequest): Promise<number>;
  /** What the file looks like now; undefined where it is gone. */
  seal(base: BaseLayer): Promise<Seal | undefined>;
  /** Takes the file as it is now for what was imported: only where its digest was compared. Under the lock. */
  reseal(base: BaseImage): Promise<void>;
  /** Whether its mode lets anybody write to the file, root apart. */
  isWritable(path: string): Promise<boolean>;
  /** Reads the whole file again. @returns its sha256 */
  digest(base: BaseLayer, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string>;
  remove(base: BaseImage): Promise<void>;
  /** Removes what runs that were killed have left. Under the lock. */
  sweep(): Promise<void>;
  /**
   * Runs while no base image is imported or removed: lets a fleet bind itself to one, or one be removed, without a race.
   * @throws LOCKED, naming the holder, after a while
   */
  locked<T>(work: () => Promise<T>, options?: BaseLockOptions): Promise<T>;
}

export interface FleetLock {
  release(): Promise<void>;
}

export interface ConsolePiece {
  text: GuestText;
  nextByte: number;
  /** Another one for each log: a start begins a new one, which may be as long as the last one was. */
  life?: string;
}

export interface FleetStore {
  readonly root: string;
  /** Names of all fleets that have a directory. */
  list(): Promise<string[]>;
  /** @returns undefined where there is none; @throws STATE_DAMAGED */
  read(fleet: string): Promise<FleetRecord | undefined>;
  write(record: FleetRecord): Promise<void>;
  /** @throws LOCKED, naming the holder */
  lock(fleet: string): Promise<FleetLock>;
  /** Which process holds the lock on the fleet now; undefined where none does. */
  holder(fleet: string): Promise<LockHolder | undefined>;
  /** The fleet's own template of a kind with that sha256; undefined where it is gone. */
  readSource(fleet: string, kind: SourceKind, digest: string): Promise<string | undefined>;
  writeSource(fleet: string, kind: SourceKind, digest: string, source: string): Promise<void>;
  files(fleet: string, member: string): MemberFiles;
  /** Bytes on disk of every disk of the fleet, by its stem: the member's name, and behind a dot that of a further disk. One pass, no process. */
  overlaySizes(fleet: string): Promise<Map<string, number>>;
  /** What the header of a member's disk names as its backing file; undefined where it names none, or is not there. */
  backingFile(fleet: string, stem: string): Promise<string | undefined>;
  /** A path for a file that lives for a moment, in the directory where the overlays are. */
  scratchPath(fleet: string): Promise<string>;
  /**
   * Writes fresh overlays beside where they will be, and syncs them all at once: after it, putting each in place is one rename,
   * and a full disk has been found out before anything was given up.
   */
  stageOverlays(fleet: string, stems: readonly string[], image: Buffer): Promise<void>;
  /** Names of members whose disk is the golden VM's still: no guest may boot from it. */
  listIdentityPending(fleet: string): Promise<Set<string>>;
  /** Before a clone's fresh disk is put in place. */
  markIdentityPending(fleet: string, member: string): Promise<void>;
  /** Synced: its disk is its own from then on. What is gone is fine. */
  markMade(fleet: string, member: string): Promise<void>;
  /** Renames a staged overlay over what is there. */
  placeOverlay(fleet: string, stem: string): Promise<void>;
  /** Keeps the NVRAM that members of UEFI begin with. */
  writeGoldenNvram(fleet: string, digest: string, bytes: Buffer): Promise<void>;
  /** Gives a member a fresh NVRAM: a copy of the golden one with that digest, else none, and libvirt makes one at the next start. */
  placeNvram(fleet: string, member: string, digest: string | undefined): Promise<void>;
  /** Bytes on disk that an overlay of these bytes takes; writes one and removes it. */
  measureOverlay(fleet: string, image: Buffer): Promise<number>;
  /** Makes ready what a start needs: an empty console log that libvirt's log daemon appends to and this user can read. */
  prepareStart(fleet: string, member: string): Promise<void>;
  /**
   * The console log from an offset on, at most 64 KiB of it; a negative offset counts from the end. A character that is not complete yet is left for the next call.
   * @param life of the log that the offset is in: where the member has a new log, that is read from its beginning
   */
  readConsole(fleet: string, member: string, fromByte: number, life?: string): Promise<ConsolePiece>;
  /** Removes what belongs to a member; what is gone already is fine. */
  removeMemberFiles(fleet: string, member: string, stems: readonly string[]): Promise<void>;
  /** Removes the fleet's directory. @returns paths in it that are not cowherd's, and therefore stay */
  removeFleet(fleet: string): Promise<string[]>;
  beginOperation(fleet: string, operation: Operation): Promise<void>;
  /** Notes that a member is done. */
  markDone(fleet: string, index: number): Promise<void>;
  endOperation(fleet: string): Promise<void>;
  /** @throws STATE_DAMAGED */
  unfinished(fleet: string): Promise<Unfinished | undefined>;
}

/** A file beside a member's overlay that is to take its place. */
export interface OverlayCopy {
  readonly path: string;
  /** Bytes on disk of the overlay and, once it is synced, of the copy. */
  sizes(): Promise<{ overlay: number; copy: number }>;
  /** Renames it over the overlay. @throws STORE_FAILED where that is not the file any more that was there in the beginning */
  place(): Promise<void>;
  /** Removes it, if it is still there. */
  discard(): Promise<void>;
}

export interface OverlayStore {
  /** Removes the copies that an interrupted run left. Only under the fleet's lock. */
  sweep(fleet: string): Promise<void>;
  /** Makes an empty file that only this user reads. */
  beginCopy(fleet: string, stem: string): Promise<OverlayCopy>;
}

export interface DiskSpace {
  totalBytes: number;
  freeBytes: number;
}

/** A path that QEMU's user has to get to: a directory or a file that libvirt gives to it, or a file that it must be able to read as it is. */
export interface ReachTarget {
  path: string;
  needs: 'pass' | 'read';
}

export interface QemuProcess {
  pid: number;
  /** Ticks since boot: tells it from a later process with the same pid. */
  startTicks: number;
  /** ms since the epoch. */
  startedAt: number;
  /** What its command line gives the guest. */
  guestBytes: number | undefined;
}

/** Facts about the machine that cowherd runs on. */
export interface Machine {
  memory(): Promise<{ totalBytes: number; availableBytes: number }>;
  /** Of the file system that holds the nearest existing ancestor of the path. */
  diskSpace(path: string): Promise<DiskSpace>;
  /** Running QEMU processes, by domain UUID; what is not visible is left out. */
  qemuProcesses(): Promise<Map<string, QemuProcess>>;
  /** What they take, by pid; few at a time, since it costs the kernel a walk through all their pages. */
  processMemory(processes: readonly QemuProcess[]): Promise<Map<number, ProcessMemory>>;
  /** absent: the kernel has none, or does not show it here. */
  ksm(): Promise<Ksm | 'absent' | 'unreadable'>;
  /** All that keeps a user from these files and directories. What is not there yet is no obstacle, and neither is what has an ACL. */
  obstaclesFor(user: { uid: number; gid: number }, targets: readonly ReachTarget[]): Promise<PathObstacle[]>;
  /** What keeps this user from writing into a directory, or from making it; undefined where nothing does. */
  writeObstacle(directory: string): Promise<{ reason: string; isReadOnly: boolean } | undefined>;
  /** Files of a directory that belong to another user than it does; undefined where it is not there, or not to be seen. */
  strangersIn(directory: string): Promise<{ owner: string; files: string[] } | undefined>;
  isRoot(): boolean;
  userName(): string;
  groups(): Promise<string[]>;
  /** Who may open /dev/kvm; undefined where there is none. */
  kvmDevice(): Promise<{ mode: number; group: string } | undefined>;
  /** What stands behind the name of a network interface of this host. */
  linkKind(name: string): Promise<'bridge' | 'other' | 'absent'>;
  /** Whether nothing of this host listens on a TCP port of 127.0.0.1. */
  isPortFree(port: number): Promise<boolean>;
  /** Limits of the running libvirt daemon where they can be seen. */
  libvirtdLimits(): Promise<{ openFiles?: number; maxClients?: number; maxWorkers?: number }>;
}

/** Finds out which accelerator and which CPU guests really run with here. */
export interface AcceleratorProbe {
  /**
   * @param options.fresh probe again even if an answer is remembered, and forget what was refuted
   * @param options.onProbe called before a probe runs: it may take some seconds
   * @param options.isKept whether the store remembers the answer (true when left out); else only this process does
   * @throws ACCELERATOR_FAILED where nothing runs guests with the CPU that is asked for
   */
  choose(
    question: AcceleratorQuestion,
    options?: { fresh?: boolean; onProbe?: () => void; signal?: AbortSignal | undefined; isKept?: boolean },
  ): Promise<AcceleratorAnswer>;
  /** A guest did not start so: the remembered answer is dropped, and probes are not believed about this choice. */
  refute(question: AcceleratorQuestion, choice: AcceleratorChoice, why: string, options?: { isKept?: boolean }): Promise<void>;
}

/** Templates that come with cowherd. */
export type BuiltInTemplate = 'domain' | 'user-data' | 'meta-data' | 'fix-up';

/** Everything that services may use; put together in host.ts. */
export interface Ports {
  hypervisor: Hypervisor;
  networks: Networks;
  agent: GuestAgent;
  remote: RemoteShell;
  seeds: SeedStore;
  files: LocalFiles;
  images: ImageTool;
  bases: BaseStore;
  memory: MemoryStore;
  fleets: FleetStore;
  overlayFiles: OverlayStore;
  domains: ForeignDomains;
  disks: DiskFiles;
  overlays: OverlayTool;
  snapshots: SnapshotStore;
  checkpoints: CheckpointStore;
  monitor: Monitor;
  survey: StoreSurvey;
  machine: Machine;
  accelerator: AcceleratorProbe;
  clock: Clock;
  /** Reads a file that the person named. @throws FILE_NOT_FOUND */
  readFile(path: string): Promise<string>;
  readBytes(path: string): Promise<Buffer>;
  /** What a guest left in a disk image, read without booting it; undefined where it cannot be read. Never throws. */
  inspectGuestFiles(path: string, format: 'qcow2' | 'raw', options?: { backing?: readonly ImageFile[] }): Promise<GuestFacts | undefined>;
  /** Writes a file that the person named. @throws BAD_USAGE where it exists */
  writeNewFile(path: string, text: string): Promise<void>;
  builtInTemplate(name: BuiltInTemplate): Promise<string>;
}
