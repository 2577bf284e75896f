/** What `cowherd verify` reports if the store, libvirt and the intent disagree. */

export type FindingKind =
  /** Left by a killed run; unused. */
  | 'leftover'
  /** Not referenced by anything. It may contain user data. */
  | 'orphan'
  /** Recorded, but missing. */
  | 'missing'
  /** Unreadable, or changed. */
  | 'damaged'
  /** Two records or states disagree. */
  | 'mismatch'
  /** Open in another process, so it could not be checked. */
  | 'inUse'
  /** Readable by others than its owner and QEMU. */
  | 'exposed'
  /** A verb was interrupted. */
  | 'unfinished';

export interface Finding {
  kind: FindingKind;
  /** A path, a member, a domain or a base image. */
  what: string;
  /** The fleet that it belongs to, or claims to; null if none. */
  fleet: string | null;
  message: string;
  hint: string;
  /** Bytes on disk, if it is a file. */
  bytes: number;
  /** Whether `--fix` can repair it without losing data. */
  fixable: boolean;
  fixed: boolean;
}
