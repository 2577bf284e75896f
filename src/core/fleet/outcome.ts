import { type ErrorCode, type ErrorReport, exitCodeOf } from '../errors.js';
import type { ReadyStage } from '../guest/stages.js';
import type { MemberState } from './observation.js';
import type { StageTime } from './operation.js';
import type { Plan, StepName } from './plan/member-plan.js';

export type MemberOutcomeKind =
  | 'created'
  | 'started'
  | 'redefined'
  | 'reset'
  | 'rebased'
  | 'checkpointed'
  | 'restored'
  | 'dropped'
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
  /** Port of 127.0.0.1 that is forwarded to its port 22. */
  sshPort: number | null;
  /** As far as this run knows; `cowherd status` checks again. */
  state: MemberState;
  outcome: MemberOutcomeKind;
  /** The achieved outcome, if only the readiness wait failed. */
  became?: MemberOutcomeKind;
  /** The step that failed. */
  step?: StepName;
  /** The readiness stage that it did not reach. */
  stuckAt?: ReadyStage;
  error?: ErrorReport;
}

/** The result of a command for many members: the document of `--json`, the same for all commands. */
export interface Outcome {
  fleet: string;
  operation: { verb: string; id: string; seconds: number; interrupted: boolean };
  base: { name: string; digest: string };
  counts: { created: number; unchanged: number; started: number; failed: number; [kind: string]: number };
  stages: StageTime[];
  members: MemberOutcome[];
  notes: string[];
  /** reset and teardown: bytes on disk that were freed. */
  freedBytes?: number;
  /** Only under --dry-run: the steps that would have been taken. */
  plan?: Plan;
  /** Only under --dry-run: why the real run would refuse the whole command. */
  refusal?: ErrorReport;
}

/** Merges several consecutive outcomes of a command. @param members in their order, each once */
export function mergeOutcomes(parts: readonly Outcome[], seconds: number): Outcome {
  const [first] = parts;
  if (first === undefined) throw new Error('no outcomes to merge');
  const counts: Outcome['counts'] = { created: 0, unchanged: 0, started: 0, failed: 0 };
  for (const [kind, count] of parts.flatMap((part) => Object.entries(part.counts))) counts[kind] = (counts[kind] ?? 0) + count;
  const stages = new Map<string, StageTime>();
  for (const stage of parts.flatMap((part) => part.stages)) {
    const sum = stages.get(stage.name);
    if (sum === undefined) stages.set(stage.name, { ...stage });
    else stages.set(stage.name, { ...sum, seconds: sum.seconds + stage.seconds, count: sum.count + stage.count });
  }
  return {
    ...first,
    operation: { ...first.operation, seconds, interrupted: parts.some((part) => part.operation.interrupted) },
    counts,
    stages: [...stages.values()],
    members: parts.flatMap((part) => part.members).sort((a, b) => a.index - b.index),
    notes: [...new Set(parts.flatMap((part) => part.notes))],
  };
}

/** 0 all done, 4 some failed, 130 interrupted. For a dry run: the expected code of the real run. */
export function exitCodeOfOutcome(outcome: Outcome): number {
  if (outcome.operation.interrupted) return 130;
  if (outcome.refusal !== undefined) return exitCodeOf[outcome.refusal.code as ErrorCode] ?? 1;
  return outcome.counts.failed > 0 ? 4 : 0;
}
