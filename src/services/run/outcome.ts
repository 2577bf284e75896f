import { reportOf } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { isOn, type MemberState, type ObservedMember } from '../../core/fleet/observation.js';
import type { MemberOutcome, MemberOutcomeKind, Outcome } from '../../core/fleet/outcome.js';
import type { Plan } from '../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { ReadyStage } from '../../core/guest/stages.js';
import type { RunResult } from './member-executor.js';

export interface OutcomeParts {
  verb: string;
  id: string;
  record: Pick<FleetRecord, 'name' | 'base' | 'members'>;
  plan: Plan;
  run: RunResult;
  /** Members before the run, by name. */
  before: ReadonlyMap<string, ObservedMember>;
  seconds: number;
  interrupted: boolean;
  /** The outcome of a member whose steps are all done. */
  doneAs: (name: string, steps: readonly string[]) => MemberOutcomeKind;
  /** Members whose steps are all done but that did not become ready in time. */
  late?: ReadonlyMap<string, { stage: ReadyStage; error: unknown }>;
  notes?: string[];
  freedBytes?: number;
}

/** Combines the results of all members, including unchanged and refused ones. */
export function composeOutcome(parts: OutcomeParts): Outcome {
  const { record, plan, run, before } = parts;
  const plans = new Map(plan.members.map((member) => [member.name, member]));
  // Addresses are allocated after the members were observed.
  const recorded = new Map(record.members.map((member) => [member.name, member]));
  const describe = ({ index, name, uuid, macs }: MemberIdentity, state: MemberState, outcome: MemberOutcomeKind): MemberOutcome => ({
    index,
    name,
    uuid,
    mac: macs[0] ?? '',
    address: recorded.get(name)?.address ?? null,
    sshPort: recorded.get(name)?.sshPort ?? null,
    state,
    outcome,
  });
  const members: MemberOutcome[] = [];
  for (const result of run.results) {
    const { member } = result;
    const steps = plans.get(member.name)?.steps ?? [];
    const earlier = stateBefore(before.get(member.name));
    const late = parts.late?.get(member.name);
    if (late !== undefined) {
      const became = parts.doneAs(member.name, steps);
      members.push({ ...describe(member, stateAfter(steps, earlier), 'failed'), became, ...lateness(late) });
    } else if (result.kind === 'done') members.push(describe(member, stateAfter(steps, earlier), parts.doneAs(member.name, steps)));
    else if (result.kind === 'cancelled') members.push(describe(member, earlier, 'cancelled'));
    else members.push({ ...describe(member, 'broken', 'failed'), step: result.step, error: reportOf(result.error) });
  }
  for (const name of plan.unchanged) {
    const member = before.get(name);
    if (member === undefined) continue;
    const late = parts.late?.get(name);
    if (late === undefined) members.push(describe(member, stateBefore(member), 'unchanged'));
    else members.push({ ...describe(member, stateBefore(member), 'failed'), became: 'unchanged', ...lateness(late) });
  }
  for (const { name, reason, hint } of plan.refused) {
    const member = before.get(name);
    if (member !== undefined) members.push({ ...describe(member, 'broken', 'failed'), error: { code: 'REFUSED', message: reason, hint } });
  }
  members.sort((a, b) => a.index - b.index);
  return {
    fleet: record.name,
    operation: { verb: parts.verb, id: parts.id, seconds: Math.round(parts.seconds * 1000) / 1000, interrupted: parts.interrupted },
    base: record.base,
    counts: countOutcomes(
      members,
      new Set(
        run.results.flatMap((result) =>
          result.kind === 'done' && plans.get(result.member.name)?.steps.some(begins) ? [result.member.name] : [],
        ),
      ),
    ),
    stages: run.stages,
    members,
    notes: parts.notes ?? [],
    ...(parts.freedBytes === undefined ? {} : { freedBytes: parts.freedBytes }),
  };
}

function lateness({ stage, error }: { stage: ReadyStage; error: unknown }): Pick<MemberOutcome, 'step' | 'stuckAt' | 'error'> {
  return { step: 'wait', stuckAt: stage, error: reportOf(error) };
}

function begins(step: string): boolean {
  return ['create', 'start', 'restore', 'resume'].includes(step);
}

/** `started` counts every start, including members that were created or reset before it. */
function countOutcomes(members: readonly MemberOutcome[], started: ReadonlySet<string>): Outcome['counts'] {
  const counts: Outcome['counts'] = { created: 0, unchanged: 0, started: 0, failed: 0 };
  for (const { outcome } of members) if (outcome !== 'started') counts[outcome] = (counts[outcome] ?? 0) + 1;
  counts.started = started.size;
  return counts;
}

function stateBefore(member: ObservedMember | undefined): MemberState {
  if (member?.domain === undefined) return 'missing';
  if (!isOn(member.domain)) return 'shutOff';
  return member.domain.state === 'paused' ? 'paused' : 'running';
}

function stateAfter(steps: readonly string[], before: MemberState): MemberState {
  const last = steps.findLast((step) =>
    [
      'create',
      'rebuild',
      'delete',
      'start',
      'restore',
      'resume',
      'stop',
      'shutdown',
      'undefine',
      'unlink',
      'define',
      'restoreCheckpoint',
    ].includes(step),
  );
  if (last === undefined) return before;
  if (last === 'start' || last === 'restore' || last === 'resume' || last === 'restoreCheckpoint') return 'running';
  if (last === 'create') return 'running';
  // A rebuild keeps a stopped member stopped.
  if (last === 'rebuild') return before === 'shutOff' ? 'shutOff' : 'running';
  if (last === 'undefine' || last === 'unlink' || last === 'delete') return 'missing';
  if (last === 'define') return before === 'missing' || steps.includes('stop') ? 'shutOff' : before;
  return 'shutOff';
}
