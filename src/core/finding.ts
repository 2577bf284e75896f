/** What `cowherd verify` finds where the store, libvirt and the intent do not agree. */

export type FindingKind =
  /** Of a run that was killed; nobody needs it. */
  | 'leftover'
  /** Nothing knows it any more. It may hold somebody's data. */
  | 'orphan'
  /** Something that is recorded is not there. */
  | 'missing'
  /** It cannot be read, or is not what it was. */
  | 'damaged'
  /** Two that should agree do not. */
  | 'mismatch'
  /** Another process has it open: it could not be read, and nothing is known to be wrong with it. */
  | 'inUse'
  /** Others than its owner and QEMU may read it. */
  | 'exposed'
  /** A verb was interrupted. */
  | 'unfinished';

export interface Finding {
  kind: FindingKind;
  /** A path, a member, a domain or a base image. */
  what: string;
  /** The fleet that it belongs to, or says that it does; null for what is of none. */
  fleet: string | null;
  message: string;
  hint: string;
  /** Bytes on disk, where it is a file. */
  bytes: number;
  /** Whether `--fix` can mend it without losing anything. */
  fixable: boolean;
  fixed: boolean;
}
