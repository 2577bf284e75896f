import type { CowherdError } from '../errors.js';
import type { MemberMark, ObservedMember } from './observation.js';

/** What can be done to one member, in the order in which it is done. */
export type StepName =
  | 'stop'
  | 'overlay'
  | 'seed'
  | 'define'
  | 'start'
  /** Goes on from the golden VM's memory, and becomes itself. */
  | 'restore'
  | 'undefine'
  | 'unlink'
  | 'shutdown'
  | 'wait'
  | 'rebase'
  /** Its first disk becomes larger. */
  | 'grow'
  | 'resume'
  | WarmStepName;

/** Into and out of a checkpoint. */
export type WarmStepName = 'checkpoint' | 'forget' | 'verify' | 'startPaused' | 'restoreCheckpoint' | 'fixUp';

export interface MemberPlan {
  index: number;
  name: string;
  steps: StepName[];
  /** Why the steps are needed, for people. */
  why: string;
  /** Steps whose effect waits for the member's next start: it runs on its old definition until then. */
  atNextStart: boolean;
}

export interface Plan {
  members: MemberPlan[];
  unchanged: string[];
  /** Members that nothing may be done to by this verb, and why. */
  refused: Array<{ name: string; reason: string; hint: string }>;
}

/** A member together with the mark in its domain's metadata; undefined where there is no domain or no mark. */
export interface MarkedMember extends ObservedMember {
  mark: MemberMark | undefined;
  /** Why the mark could not be read: nothing may be done to a domain that may be another's. */
  unread?: CowherdError | undefined;
}
