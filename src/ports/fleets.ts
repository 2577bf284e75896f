import type { MemberFiles } from '../core/domain/template.js';
import type { Operation, Unfinished } from '../core/fleet/operation.js';
import type { FleetRecord } from '../core/fleet/record.js';
import type { GuestText } from '../core/guest/text.js';
import type { LockHolder } from '../core/lock.js';
import type { SourceKind } from '../core/spec/spec.js';

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
