import type { MemberState } from '../../../core/fleet/observation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { Plan } from '../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { WaitFor } from '../../../core/guest/stages.js';
import { defaultConcurrency, type WorkOptions } from '../../../services/fleet/access.js';
import { defaultWaitMs } from '../../../services/guest/readiness.js';
import { isAborted, isComplete, type RunResult, runMembers } from '../../../services/run/member-executor.js';
import { composeOutcome, type OutcomeParts } from '../../../services/run/outcome.js';
import { byName, memberOf } from '../../../services/run/run-plan.js';
import type { NovaContext } from '../context.js';
import type { NovaMember } from '../core/members.js';
import { ServerSteps, type StepSettings } from './server-steps.js';
import { waitForMembers } from './wait.js';

/** Executes a plan on the members of a fleet and composes the outcome: shared by all commands that change servers. */
export interface NovaChange {
  verb: string;
  id: string;
  record: FleetRecord;
  plan: Plan;
  observed: readonly NovaMember[];
  doneAs: OutcomeParts['doneAs'];
  steps: Omit<StepSettings, 'fleet' | 'before' | 'signal'>;
  wait?: WaitFor | undefined;
  timeoutMs?: number | undefined;
  /** clock.monotonic() at the start of the command. */
  began: number;
  notes?: string[];
}

export interface ChangeResult {
  run: RunResult;
  outcome: Outcome;
  /** Whether every member was processed, successfully or not. */
  isComplete: boolean;
}

export async function executeChange(context: NovaContext, change: NovaChange, options: WorkOptions): Promise<ChangeResult> {
  const { record, plan, observed } = change;
  const { clock } = context.ports;
  const before = byName(observed);
  const performer = new ServerSteps(context, { ...change.steps, fleet: record.name, before, signal: options.signal });
  const run = await runMembers(
    plan.members.map(({ name, steps }) => ({ member: memberOf(before, name), steps })),
    performer,
    {
      concurrency: options.concurrency ?? defaultConcurrency,
      bootConcurrency: options.bootConcurrency ?? options.concurrency ?? defaultConcurrency,
      clock,
      signal: options.signal,
      onProgress: options.onProgress,
    },
  );
  const { late, stages } = await waitAfter(context, change, { run, before }, options);
  const outcome = outcomeOf(context, change, { ...run, stages: [...run.stages, ...stages] }, options, performer, late);
  return { run, outcome, isComplete: isComplete(run) };
}

type Waited = { late: OutcomeParts['late']; stages: RunResult['stages'] };

/** Waits for the members that run now. */
async function waitAfter(
  context: NovaContext,
  { record, plan, wait, timeoutMs = defaultWaitMs }: NovaChange,
  { run, before }: { run: RunResult; before: ReadonlyMap<string, NovaMember> },
  options: WorkOptions,
): Promise<Waited> {
  // A task has settled when its server runs.
  if (wait === undefined || wait.stages.every((stage) => stage === 'running') || isAborted(options.signal))
    return { late: undefined, stages: [] };
  options.onWaiting?.();
  const { clock } = context.ports;
  const began = clock.monotonic();
  const steps = new Map(plan.members.map((member) => [member.name, member.steps]));
  const runs = (name: string): boolean => {
    const last = (steps.get(name) ?? []).at(-1);
    if (last === 'shutdown') return false;
    // Only surplus servers are deleted before a wait.
    if (last === 'delete') return before.get(name)?.domain?.state === 'running';
    if (last === 'rebuild') return before.get(name)?.domain?.state !== 'shutOff';
    return last !== undefined || before.get(name)?.domain?.state === 'running';
  };
  const done = new Set([...plan.unchanged, ...run.results.filter(({ kind }) => kind === 'done').map(({ member }) => member.name)]);
  const members = record.members.filter(({ name }) => done.has(name) && runs(name));
  const late = await waitForMembers(context, record, { wait, members, timeoutMs, work: options });
  if (isAborted(options.signal)) return { late: undefined, stages: [] };
  const seconds = Math.round(clock.monotonic() - began) / 1000;
  return { late, stages: [{ name: 'wait', seconds, count: members.length - late.size }] };
}

/** The outcome of a dry run. */
export function dryChange(context: NovaContext, change: Omit<NovaChange, 'steps'>): Outcome {
  return { ...outcomeOf(context, change, { results: [], stages: [] }, {}), plan: change.plan };
}

function outcomeOf(
  { ports }: NovaContext,
  { verb, id, record, plan, observed, doneAs, began, notes = [] }: Omit<NovaChange, 'steps'>,
  run: RunResult,
  { signal }: WorkOptions,
  performer?: ServerSteps,
  late?: OutcomeParts['late'],
): Outcome {
  const outcome = composeOutcome({
    ...{ verb, id, record, plan, run, doneAs, notes },
    before: byName(observed),
    seconds: (ports.clock.monotonic() - began) / 1000,
    interrupted: isAborted(signal),
    ...(late === undefined ? {} : { late }),
  });
  const idOf = (name: string): string | undefined =>
    performer?.servers.get(name)?.id ?? observed.find((member) => member.name === name)?.server?.id;
  const stateOf = ({ name, state }: Outcome['members'][number]): MemberState => {
    const isOn = observed.find((member) => member.name === name)?.domain?.state === 'running';
    // Only its surplus servers were deleted.
    return state === 'missing' && performer?.servers.has(name) === true ? (isOn ? 'running' : 'shutOff') : state;
  };
  // The id of its server is what users look for.
  const members = outcome.members.map((member) => ({ ...member, uuid: idOf(member.name) ?? member.uuid, state: stateOf(member) }));
  return { ...outcome, members };
}
