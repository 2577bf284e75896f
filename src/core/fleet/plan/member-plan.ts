import type { CowherdError } from '../../errors.js';
import type { MemberMark, ObservedMember } from '../observation.js';

/** The steps for one member, in their order. */
export type StepName =
  | 'stop'
  | 'overlay'
  | 'seed'
  | 'define'
  | 'start'
  /** Resumes from the source VM's memory, and gets its own identity. */
  | 'restore'
  | 'undefine'
  | 'unlink'
  | 'shutdown'
  | 'wait'
  | 'rebase'
  /** Enlarges its first disk. */
  | 'grow'
  | 'resume'
  | ServerStepName
  | WarmStepName;

/** Steps of members that another platform runs: each is one task of it. */
export type ServerStepName = 'create' | 'rebuild' | 'delete';

/** Steps that take and restore a checkpoint. */
export type WarmStepName = 'checkpoint' | 'forget' | 'verify' | 'startPaused' | 'restoreCheckpoint' | 'fixUp';

export interface MemberPlan {
  index: number;
  name: string;
  steps: StepName[];
  /** Why the steps are needed, for display. */
  why: string;
  /** The steps take effect at the member's next start: it runs with its old definition until then. */
  atNextStart: boolean;
}

export interface Plan {
  members: MemberPlan[];
  unchanged: string[];
  /** Members that this command must not touch, and why. */
  refused: Array<{ name: string; reason: string; hint: string }>;
}

/** A member with the mark in its domain's metadata; undefined without a domain or a mark. */
export interface MarkedMember extends ObservedMember {
  mark: MemberMark | undefined;
  /** Why the mark could not be read. The domain may be foreign, so it must not be touched. */
  unread?: CowherdError | undefined;
}
