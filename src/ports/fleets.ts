import type { MemberFiles } from '../core/domain/template.js';
import type { EndedRun, HistoryEntry } from '../core/fleet/history.js';
import type { Operation, Unfinished } from '../core/fleet/operation.js';
import type { FleetRecord } from '../core/fleet/record.js';
import type { GuestText } from '../core/guest/text.js';
import type { LockHolder, LockNote } from '../core/lock.js';
import type { SourceKind } from '../core/spec/spec.js';

export interface FleetLock {
  release(): Promise<void>;
}

export interface ConsolePiece {
  text: GuestText;
  nextByte: number;
  /** Identifies the log: every start creates a new one, which may be as long as the last one. */
  life?: string;
}

export interface FleetStore {
  readonly root: string;
  /** Names of all fleets that have a directory. */
  list(): Promise<string[]>;
  /** @returns undefined if there is none; @throws STATE_DAMAGED; BAD_USAGE if the fleet is on another platform */
  read(fleet: string): Promise<FleetRecord | undefined>;
  write(record: FleetRecord): Promise<void>;
  /**
   * @param options.waitSeconds how long to wait for another run, unless the user has said so; default: not at all
   * @throws LOCKED, naming the holder
   */
  lock(fleet: string, options?: { waitSeconds?: number | undefined }): Promise<FleetLock>;
  /** The run of cowherd that has locked the fleet; undefined if there is none, or another holder. */
  runner(fleet: string): Promise<LockNote | undefined>;
  /** The process that holds the lock on the fleet; undefined if it is not locked. */
  holder(fleet: string): Promise<LockHolder | undefined>;
  /** The fleet's own template of a kind with that sha256; undefined if it is missing. */
  readSource(fleet: string, kind: SourceKind, digest: string): Promise<string | undefined>;
  writeSource(fleet: string, kind: SourceKind, digest: string, source: string): Promise<void>;
  files(fleet: string, member: string): MemberFiles;
  /** Names of members whose disk still has the source VM's identity: no guest may boot from it. */
  listIdentityPending(fleet: string): Promise<Set<string>>;
  /** Called before a clone's fresh disk is placed. */
  markIdentityPending(fleet: string, member: string): Promise<void>;
  /** Removes the identity-pending mark, with a sync. Not an error if it does not exist. */
  markMade(fleet: string, member: string): Promise<void>;
  /** Stores the initial NVRAM of members with UEFI. */
  writeGoldenNvram(fleet: string, digest: string, bytes: Buffer): Promise<void>;
  /** Resets a member's NVRAM: to a copy of the initial one with that digest, or to none, and libvirt creates one at the next start. */
  placeNvram(fleet: string, member: string, digest: string | undefined): Promise<void>;
  /** Prepares a start: creates an empty console log that virtlogd appends to and this user can read. */
  prepareStart(fleet: string, member: string): Promise<void>;
  /** Reads at most 64 KiB of the console log from an offset; a negative offset counts from the end. An incomplete character is left for the next call.
   * @param life identifies the log that the offset belongs to: a new log is read from its beginning
   */
  readConsole(fleet: string, member: string, fromByte: number, life?: string): Promise<ConsolePiece>;
  /** Removes the files of a member; missing ones are not an error. */
  removeMemberFiles(fleet: string, member: string, stems: readonly string[]): Promise<void>;
  /** Removes the fleet's directory. @returns paths of unknown files, which are kept */
  removeFleet(fleet: string): Promise<string[]>;
  beginOperation(fleet: string, operation: Operation): Promise<void>;
  /** Records that a member is done. */
  markDone(fleet: string, index: number): Promise<void>;
  /** Records that a member failed, for display. @param code of the error */
  markFailed(fleet: string, index: number, code: string): Promise<void>;
  endOperation(fleet: string): Promise<void>;
  /** Adds a command without an operation to the history, for display. Operations are added when they end. */
  remember(fleet: string, run: EndedRun): Promise<void>;
  /** Commands that have changed members, the oldest first; bounded. */
  history(fleet: string): Promise<HistoryEntry[]>;
  /** @throws STATE_DAMAGED; BAD_USAGE if the fleet is on another platform */
  unfinished(fleet: string): Promise<Unfinished | undefined>;
}

/** A file that will replace a member's overlay. */
export interface OverlayCopy {
  readonly path: string;
  /** Bytes on disk of the overlay and, once it is synced, of the copy. */
  sizes(): Promise<{ overlay: number; copy: number }>;
  /** Renames it over the overlay. @throws STORE_FAILED if the overlay was replaced meanwhile */
  place(): Promise<void>;
  /** Removes it if it still exists. */
  discard(): Promise<void>;
}

export interface OverlayStore {
  /** Bytes on disk of every disk of the fleet, by file stem: the member's name, for further disks followed by a dot and the disk's name. */
  sizes(fleet: string): Promise<Map<string, number>>;
  /** The backing file in the header of a member's disk; undefined if it has none or does not exist. */
  backingFile(fleet: string, stem: string): Promise<string | undefined>;
  /** Path for a temporary file in the directory of the overlays. */
  scratchPath(fleet: string): Promise<string>;
  /** Writes fresh overlays next to their final paths and syncs all of them: placing one is then a single rename, and a full disk is detected before anything is discarded.
   */
  stage(fleet: string, stems: readonly string[], image: Buffer): Promise<void>;
  /** Replaces the overlay with the staged one by a rename. */
  place(fleet: string, stem: string): Promise<void>;
  /** Bytes on disk of an overlay with this content; writes a temporary file. */
  measure(fleet: string, image: Buffer): Promise<number>;
  /** Removes copies that an interrupted run left. Only under the fleet's lock. */
  sweep(fleet: string): Promise<void>;
  /** Creates an empty file that only this user can read. */
  beginCopy(fleet: string, stem: string): Promise<OverlayCopy>;
}
