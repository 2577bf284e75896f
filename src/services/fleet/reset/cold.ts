import type { MemberDefinition } from '../../../core/domain/domain-xml.js';
import type { BaseLookup } from '../../../core/domain/template.js';
import type { Operation } from '../../../core/fleet/operation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { MarkedMember, Plan } from '../../../core/fleet/plan/member-plan.js';
import { planReset, type ResetPolicy, type StartPolicy } from '../../../core/fleet/plan/plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { Seed } from '../../../core/guest/seed.js';
import type { WaitFor, WaitRequest } from '../../../core/guest/stages.js';
import type { Ports } from '../../../ports/index.js';
import { withChains } from '../../base/chains.js';
import { withClones } from '../../clone/plan.js';
import { Cloner } from '../../clone/restore.js';
import { beginWait } from '../../guest/readiness.js';
import { composeSecrets, instanceIds, loadSeedSources, renderSeeds } from '../../guest/seeds.js';
import { choosePlatform } from '../../host/accelerator.js';
import { assertReachable, baseTargets, fleetTargets } from '../../preflight/reachability.js';
import { byName, executePlan, offNames, prepared } from '../../run/run-plan.js';
import { type StepContext, stagePlanned } from '../../run/steps.js';
import { loadFleet, observeWithMarks, type WorkOptions } from '../access.js';
import { refuseStaleDefinitions } from '../disks/backing-check.js';
import { redefines, refuseForeignDisks } from '../disks/foreign-disks.js';
import { freshDisks, memberDisksOf, nvramOf, verifiedBases } from '../disks/fresh-disks.js';
import { withoutAdditions } from '../spawn/additions.js';
import { loadTemplate, renderDefinitions } from '../spawn/input/definitions.js';
import { withoutEnlarged } from '../spawn/input/root-size.js';

export type FinishOptions = WorkOptions & Pick<ResetOptions, 'fleet' | 'timeoutMs'> & { wait?: WaitFor | undefined; isResumed: boolean };

export interface ResetOptions extends WorkOptions {
  fleet: string;
  /** Names, numbers or ranges; default: all members. */
  members?: readonly string[] | undefined;
  /** Which members run afterwards: all, none, or those that were running (the default). */
  start?: StartPolicy | undefined;
  /** Keep the seeds' instance-id: cloud-init does not repeat its first-boot steps. */
  keepInstance?: boolean | undefined;
  /** The stage that started members must reach. */
  wait?: WaitRequest | undefined;
  timeoutMs?: number | undefined;
  /** Restore the checkpoint of a running guest instead of a fresh disk. */
  warm?: boolean | undefined;
  /** Warm: a command line to run in each guest at the end. */
  hook?: string | undefined;
  dryRun?: boolean | undefined;
}

/** Completes a reset whose intent is written. The fleet is locked. */
export async function finishColdReset(
  ports: Ports,
  operation: Operation,
  done: ReadonlySet<number>,
  options: FinishOptions,
): Promise<Outcome> {
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
    // All guests are stopped before the first one starts: idle emulated guests take CPU time from booting ones. The number of connections
    // limits concurrent stops.
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

export async function planOf(ports: Ports, { record, members, observed, operation, imageOf, signal }: Planned) {
  const own = await refuseForeignDisks(ports, record, observed, planReset(observed, record.id, policyOf(record, observed, operation)));
  const wanted = await withoutEnlarged(ports, record, members, own, imageOf);
  // These domains are not redefined.
  const cloned = withClones(redefines(record) ? wanted : refuseStaleDefinitions(record, observed, wanted), observed, record, {
    replaces: true,
  });
  const isWarm = record.spec.warm !== undefined;
  const rendered = redefines(record) || isWarm ? await definitionsOf(ports, record, members, imageOf, signal) : undefined;
  const kept = await withoutAdditions(ports, record, observed, cloned, rendered ?? new Map(), undefined, signal);
  return { ...(await withChains(ports, record, members, kept.plan, imageOf, kept.definitions)), rendered };
}

/** Seeds with a new instance-id, which is derived from the operation, so that a resumed operation uses the same one. */
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
