import type { MemberDefinition } from '../../../core/domain/domain-xml.js';
import type { BaseLookup } from '../../../core/domain/template.js';
import type { MarkedMember, Plan } from '../../../core/fleet/member-plan.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { Operation } from '../../../core/fleet/operation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import { planReset, type ResetPolicy, type StartPolicy } from '../../../core/fleet/plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { selectMembers } from '../../../core/fleet/selection.js';
import type { Seed } from '../../../core/guest/seed.js';
import type { WaitFor } from '../../../core/guest/stages.js';
import type { Ports } from '../../../ports/index.js';
import { withChains } from '../../base/chains.js';
import { verifiedWarmBase, withClones } from '../../clone/plan.js';
import { Cloner } from '../../clone/restore.js';
import { assertWaitable, beginWait } from '../../guest/readiness.js';
import { composeSecrets, instanceIds, loadSeedSources, renderSeeds } from '../../guest/seeds.js';
import { choosePlatform } from '../../host/accelerator.js';
import { startOtherwise } from '../../host/accelerator-fallback.js';
import { assertReachable, baseTargets, fleetTargets } from '../../preflight/reachability.js';
import { byName, dryOutcome, executePlan, newOperation, offNames, prepared } from '../../run/run-plan.js';
import { type StepContext, stagePlanned } from '../../run/steps.js';
import { assertNothingUnfinished, assertWork, loadFleet, observeWithMarks, type WorkOptions, withFleetLock } from '../access.js';
import { withoutAdditions } from '../spawn/additions.js';
import { loadTemplate, renderDefinitions } from '../spawn/definitions.js';
import { withoutEnlarged } from '../spawn/root-size.js';
import { refuseStaleDefinitions } from './backing-check.js';
import { redefines, refuseForeignDisks } from './foreign-disks.js';
import { freshDisks, memberDisksOf, nvramOf, verifiedBases } from './fresh-disks.js';
import { beginWarmReset, finishWarmReset } from './warm.js';

export interface ResetOptions extends WorkOptions {
  fleet: string;
  /** Names, numbers or ranges; all members where there are none. */
  members?: readonly string[] | undefined;
  /** Which members run afterwards: all, none, or those that ran (the default). */
  start?: StartPolicy | undefined;
  /** Leave the seeds' instance-id as it is: first-boot work is not asked for again. */
  keepInstance?: boolean | undefined;
  /** What those that are started must reach. */
  wait?: WaitFor | undefined;
  timeoutMs?: number | undefined;
  /** Back to the checkpoint, running and ready, instead of to a fresh disk. */
  warm?: boolean | undefined;
  /** Warm: a command line that is run in each guest at the end. */
  hook?: string | undefined;
  dryRun?: boolean | undefined;
}

/**
 * Puts members back to clean: a fresh overlay in place of the old one. Takes as long for a member that wrote gigabytes as for
 * one that wrote nothing. Name, UUID and MAC stay; domains are not redefined.
 */
export async function reset(ports: Ports, options: ResetOptions): Promise<Outcome> {
  const { fleet } = options;
  assertWork(options);
  const begin = options.warm === true ? beginWarmReset : beginCold;
  if (options.dryRun === true) {
    await assertNothingUnfinished(ports, fleet, () => false);
    return begin(ports, options);
  }
  return withFleetLock(ports, fleet, async () => {
    await assertNothingUnfinished(ports, fleet, () => false);
    return startOtherwise(ports, await begin(ports, options), options);
  });
}

async function beginCold(ports: Ports, options: ResetOptions): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const record = await loadFleet(ports, options.fleet);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const observed = await observeWithMarks(ports, { ...record, members: chosen });
  const operation = newOperation(ports, 'reset', {
    targets: chosen.map((member) => member.index),
    wasOn: observed.filter((member) => isOn(member.domain)).map((member) => member.index),
    start: options.start ?? 'same',
    keepInstance: options.keepInstance === true,
  });
  assertWaitable(record.spec, options.wait);
  const imageOf = await verifiedBases(ports, { ...record, members: chosen });
  await verifiedWarmBase(ports, record);
  if (options.dryRun === true) {
    const { plan } = await planOf(ports, { record, members: chosen, observed, operation, imageOf, signal: options.signal });
    return dryOutcome(ports, { verb: 'reset', id: operation.id, record, plan, before: byName(observed), doneAs: () => 'reset', began });
  }
  await ports.fleets.beginOperation(record.name, operation);
  return finishReset(ports, operation, new Set(), { ...options, isResumed: false });
}

/** Does what is left of a reset whose intent is written. The fleet is locked. */
export async function finishReset(
  ports: Ports,
  operation: Operation,
  done: ReadonlySet<number>,
  options: WorkOptions & Pick<ResetOptions, 'fleet' | 'wait' | 'timeoutMs'> & { isResumed: boolean },
): Promise<Outcome> {
  if (operation.warm !== undefined) return finishWarmReset(ports, operation, done, options);
  const began = ports.clock.monotonic();
  const { record, observed, plan, watch, context, cloner } = await prepared(ports, options.fleet, options.isResumed, async () => {
    const ready = await prepareReset(ports, operation, done, options.fleet, options);
    return { ...ready, watch: await beginWait(ports, ready.record, options.wait) };
  });
  const before = byName(observed);
  const { run, outcome } = await executePlan(
    ports,
    {
      verb: 'reset',
      id: operation.id,
      record,
      plan,
      before,
      doneAs: () => 'reset',
      began,
      context: { ...context, off: offNames(before), journaled: true },
      watch,
      onComplete: () => ports.fleets.endOperation(record.name),
    },
    // All guests are stopped before the first one starts: emulated guests that idle until their turn comes take CPU time from
    // those that boot. Connections bound how many stops are under way.
    { ...options, concurrency: options.concurrency ?? Math.max(1, plan.members.length) },
  );
  await cloner?.close();
  const freed = run.results.map(({ kind, member }) =>
    kind === 'done' ? (before.get(member.name)?.overlayBytes ?? 0) - record.freshOverlayBytes : 0,
  );
  return {
    ...outcome,
    notes: [...outcome.notes, ...(cloner?.notes ?? [])],
    freedBytes: freed.reduce((sum, bytes) => sum + Math.max(0, bytes), 0),
  };
}

async function prepareReset(
  ports: Ports,
  operation: Operation,
  done: ReadonlySet<number>,
  fleet: string,
  work: WorkOptions,
): Promise<{
  record: FleetRecord;
  observed: MarkedMember[];
  plan: Plan;
  context: Pick<StepContext, 'disks' | 'nvram' | 'definitions' | 'perform' | 'isOfClones'>;
  cloner: Cloner | undefined;
}> {
  const record = await loadFleet(ports, fleet);
  const left = record.members.filter((member) => operation.targets.includes(member.index) && !done.has(member.index));
  const imageOf = await verifiedBases(ports, { ...record, members: left });
  await assertReachable(ports, [...fleetTargets(ports, fleet), ...baseTargets({ ...record, members: left }, imageOf)]);
  const observed = await observeWithMarks(ports, { ...record, members: left });
  const { plan, definitions, rendered } = await planOf(ports, { record, members: left, observed, operation, imageOf, signal: work.signal });
  const disks = memberDisksOf(record, left);
  const fresh = await freshDisks(ports, record, left, imageOf);
  await stagePlanned(ports, record, plan, { disks, fresh }, await freshSeeds(ports, record, left, operation, work.signal));
  const cloner = rendered === undefined ? undefined : await Cloner.open(ports, record, plan, definitions, work);
  const context = {
    disks,
    ...nvramOf(record),
    definitions,
    isOfClones: record.spec.warm !== undefined,
    ...(cloner === undefined ? {} : { perform: { restore: cloner.clone } }),
  };
  return { record, observed, plan, context, cloner };
}

interface Planned {
  record: FleetRecord;
  members: FleetRecord['members'];
  observed: readonly MarkedMember[];
  operation: Operation;
  imageOf: Awaited<ReturnType<typeof verifiedBases>>;
  signal?: AbortSignal | undefined;
}

async function planOf(ports: Ports, { record, members, observed, operation, imageOf, signal }: Planned) {
  const own = await refuseForeignDisks(ports, record, observed, planReset(observed, record.id, policyOf(record, observed, operation)));
  const wanted = await withoutEnlarged(ports, record, members, own, imageOf);
  // Their domains are not redefined.
  const cloned = withClones(redefines(record) ? wanted : refuseStaleDefinitions(record, observed, wanted), observed, record, {
    replaces: true,
  });
  const isWarm = record.spec.warm !== undefined;
  const rendered = redefines(record) || isWarm ? await definitionsOf(ports, record, members, imageOf, signal) : undefined;
  const kept = await withoutAdditions(ports, record, observed, cloned, rendered ?? new Map(), undefined, signal);
  return { ...(await withChains(ports, record, members, kept.plan, imageOf, kept.definitions)), rendered };
}

/** The seeds of a new life. Resumed, it is the same life: their instance-id follows from the operation. */
export async function freshSeeds(
  ports: Ports,
  record: FleetRecord,
  members: FleetRecord['members'],
  operation: Pick<Operation, 'id' | 'keepInstance'>,
  signal?: AbortSignal,
): Promise<Map<string, Seed>> {
  if (record.spec.seed !== 'nocloud') return new Map();
  const { sources } = await loadSeedSources(ports, record);
  const secrets = await composeSecrets(ports, record, undefined);
  const placed = await ports.seeds.observe(record.name);
  const instanceOf = instanceIds(placed, operation.id, () => !operation.keepInstance);
  return renderSeeds(record, members, sources, secrets, instanceOf, signal);
}

function policyOf({ spec }: FleetRecord, observed: readonly MarkedMember[], { start, wasOn }: Operation): ResetPolicy {
  return { start, wasOn: namesOf(observed, wasOn), withSeeds: spec.seed === 'nocloud', redefines: redefines({ spec }) };
}

export async function definitionsOf(
  ports: Ports,
  record: FleetRecord,
  members: FleetRecord['members'],
  imageOf: BaseLookup,
  signal?: AbortSignal,
): Promise<Map<string, MemberDefinition>> {
  const platform = await choosePlatform(ports, record);
  return renderDefinitions(ports, record, members, imageOf, platform, await loadTemplate(ports, record, undefined), signal);
}

export function namesOf(members: readonly { index: number; name: string }[], indexes: readonly number[]): Set<string> {
  const wanted = new Set(indexes);
  return new Set(members.filter((member) => wanted.has(member.index)).map((member) => member.name));
}
