import type { ErrorReport } from './errors.js';
import type { MemberState } from './observation.js';
import type { StageTime } from './operation.js';
import type { Plan, StepName } from './plan.js';
import type { ReadyStage } from './stages.js';

export type MemberOutcomeKind =
  | 'created'
  | 'started'
  | 'redefined'
  | 'reset'
  | 'removed'
  | 'stopped'
  | 'unchanged'
  | 'failed'
  | 'cancelled';

export interface MemberOutcome {
  index: number;
  name: string;
  uuid: string;
  mac: string;
  /** Reserved for it on its libvirt network. */
  address: string | null;
  /** Of 127.0.0.1, forwarded to its port 22. */
  sshPort: number | null;
  /** As far as this run knows; `cowherd status` looks again. */
  state: MemberState;
  outcome: MemberOutcomeKind;
  /** The step that failed. */
  step?: StepName;
  /** The stage of readiness that it did not reach. */
  stuckAt?: ReadyStage;
  error?: ErrorReport;
}

/** What a verb over many members did: the document of `--json`, the same shape for each of them. */
export interface Outcome {
  fleet: string;
  operation: { verb: string; id: string; seconds: number; interrupted: boolean };
  base: { name: string; digest: string };
  counts: { created: number; unchanged: number; started: number; failed: number; [kind: string]: number };
  stages: StageTime[];
  members: MemberOutcome[];
  notes: string[];
  /** reset and teardown: bytes on disk given back. */
  freedBytes?: number;
  /** Only under --dry-run: the steps that would have been taken. */
  plan?: Plan;
}

/** 0 all done, 4 some failed, 130 interrupted. */
export function exitCodeOfOutcome(outcome: Outcome): number {
  if (outcome.operation.interrupted) return 130;
  return outcome.counts.failed > 0 ? 4 : 0;
}
