import { randomUUID } from 'node:crypto';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { isOn, type ObservedMember } from '../../core/fleet/observation.js';
import type { Operation } from '../../core/fleet/operation.js';
import type { Outcome } from '../../core/fleet/outcome.js';
import type { Plan } from '../../core/fleet/plan/member-plan.js';
import type { BaseRef, FleetRecord } from '../../core/fleet/record.js';
import type { Ports } from '../../ports/index.js';
import { defaultBootConcurrency, defaultConcurrency, type WorkOptions } from '../fleet/access.js';
import { waitAfter } from '../guest/readiness.js';
import type { Watch } from '../guest/readiness-probe.js';
import { isAborted, isComplete, type RunResult, runMembers } from './member-executor.js';
import { composeOutcome, type OutcomeParts } from './outcome.js';
import { type StepContext, stepPerformer } from './steps.js';

/** Shared by reset, teardown, start and stop: executes a plan on existing members and composes the outcome. */

export interface PlannedRun {
  verb: string;
  id: string;
  record: FleetRecord;
  plan: Plan;
  before: ReadonlyMap<string, ObservedMember>;
  doneAs: OutcomeParts['doneAs'];
  context: Omit<StepContext, 'fleet'>;
  /** Called when every member was processed, before the wait for guests. */
  onComplete?: () => Promise<void>;
  /** The stages to wait for in started members. */
  watch?: Watch | undefined;
  /** clock.monotonic() at the start of the verb. */
  began: number;
}

export async function executePlan(
  ports: Ports,
  change: PlannedRun,
  options: WorkOptions & { timeoutMs?: number | undefined },
): Promise<{ run: RunResult; outcome: Outcome }> {
  const { record, plan, before } = change;
  const run = await runMembers(
    plan.members.map(({ name, steps }) => ({ member: memberOf(before, name), steps })),
    stepPerformer(ports, { ...change.context, fleet: record.name }),
    {
      concurrency: options.concurrency ?? defaultConcurrency,
      bootConcurrency: options.bootConcurrency ?? defaultBootConcurrency,
      clock: ports.clock,
      signal: options.signal,
      onProgress: options.onProgress,
    },
  );
  if (isComplete(run)) await change.onComplete?.();
  const { late, stages } = await waitAfter(ports, change.watch, { plan, run, before }, options);
  return { run, outcome: outcomeOf(ports, change, { ...run, stages: [...run.stages, ...stages] }, options, late) };
}

/** The outcome of a dry run. */
export function dryOutcome(ports: Pick<Ports, 'clock'>, change: Omit<PlannedRun, 'context'>): Outcome {
  return { ...outcomeOf(ports, change, { results: [], stages: [] }, {}), plan: change.plan };
}

/** The outcome of an operation that changes no members. */
export function emptyOutcome(
  ports: Pick<Ports, 'clock'>,
  {
    verb,
    fleet,
    base,
    members = [],
    plan = { members: [], unchanged: [], refused: [] },
    began,
    notes,
  }: { verb: string; fleet: string; base: BaseRef; members?: FleetRecord['members']; plan?: Plan; began: number; notes: string[] },
): Outcome {
  return composeOutcome({
    verb,
    id: '',
    record: { name: fleet, base, members },
    plan,
    run: { results: [], stages: [] },
    before: new Map(),
    seconds: (ports.clock.monotonic() - began) / 1000,
    interrupted: false,
    doneAs: () => 'created',
    notes,
  });
}

function outcomeOf(
  ports: Pick<Ports, 'clock'>,
  change: Omit<PlannedRun, 'context'>,
  run: RunResult,
  options: WorkOptions,
  late?: OutcomeParts['late'],
): Outcome {
  const { verb, id, record, plan, before, doneAs } = change;
  const seconds = (ports.clock.monotonic() - change.began) / 1000;
  return composeOutcome({
    verb,
    id,
    record,
    plan,
    run,
    before,
    seconds,
    interrupted: isAborted(options.signal),
    doneAs,
    ...(late === undefined ? {} : { late }),
  });
}

export function newOperation(
  ports: Pick<Ports, 'clock'>,
  verb: Operation['verb'],
  parts: Pick<Operation, 'targets'> & Partial<Operation>,
): Operation {
  return {
    version: 1,
    id: randomUUID(),
    verb,
    startedAt: ports.clock.now().toISOString(),
    wasOn: [],
    start: 'same',
    wholeFleet: false,
    keepInstance: false,
    withBase: false,
    ...parts,
  };
}

export function byName<M extends { name: string }>(members: readonly M[]): Map<string, M> {
  return new Map(members.map((member) => [member.name, member]));
}

/** Names of stopped members: only these may have saved memory. */
export function offNames(members: ReadonlyMap<string, ObservedMember>): Set<string> {
  return new Set([...members].filter(([, { domain }]) => domain !== undefined && !isOn(domain)).map(([name]) => name));
}

/** Runs the preparation between the intent and the first change. If it fails in a new operation, the intent is removed, since nothing was changed. In a resumed operation it stays.
 */
export async function prepared<T>(ports: Pick<Ports, 'fleets'>, fleet: string, isResumed: boolean, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isResumed) await ports.fleets.endOperation(fleet);
    throw error;
  }
}

export function memberOf<M extends MemberIdentity>(members: ReadonlyMap<string, M>, name: string): M {
  const member = members.get(name);
  if (member === undefined) throw new Error(`${name} is in the plan but not among the members`);
  return member;
}
