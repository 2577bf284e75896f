import { randomUUID } from 'node:crypto';
import type { MemberDefinition } from '../../../core/domain/domain-xml.js';
import type { BaseLookup, Platform } from '../../../core/domain/template.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { Operation } from '../../../core/fleet/operation.js';
import type { MarkedMember, Plan } from '../../../core/fleet/plan/member-plan.js';
import { planSpawn } from '../../../core/fleet/plan/plan-spawn.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { FleetSecrets, Seed } from '../../../core/guest/seed.js';
import type { AcceleratorChoice } from '../../../core/host/cpu.js';
import type { Ports } from '../../../ports/index.js';
import { withChains } from '../../base/chains.js';
import { demandOfClones } from '../../clone/demand.js';
import { verifiedWarmBase, withClones } from '../../clone/plan.js';
import { discardIncomplete } from '../../clone/restore.js';
import { composeSecrets, instanceIds, renderSeeds, seedLack } from '../../guest/seeds.js';
import { chooseOrReplace } from '../../host/accelerator.js';
import { type Check, checkDisk, checkMachine, checkMemory, checkReach } from '../../preflight/checks.js';
import { checkNetwork } from '../../preflight/network-check.js';
import { checkOverlays } from '../../preflight/overlay-check.js';
import { baseTargets } from '../../preflight/reachability.js';
import { newOperation } from '../../run/run-plan.js';
import { observeWithMarks } from '../access.js';
import { refuseMisplaced } from '../disks/backing-check.js';
import { refuseForeignDisks } from '../disks/foreign-disks.js';
import { verifiedBases, virtualBytesOf } from '../disks/fresh-disks.js';
import { withoutAdditions } from './additions.js';
import { type Allocation, allocateAddresses } from './addresses.js';
import type { SpawnContext } from './context.js';
import { renderDefinitions } from './input/definitions.js';
import type { SpawnOptions } from './input/options.js';
import { withGrowth } from './input/root-size.js';
import { describeChanges, earlierDefinitions, restricted } from './plan.js';
import { assertNetworkMayChange, assertNoForeign } from './verify.js';

/** The plan of one spawn attempt; nothing is changed yet. */
export interface SpawnAttempt {
  record: FleetRecord;
  observed: MarkedMember[];
  accelerator: AcceleratorChoice | undefined;
  plan: Plan;
  operation: Operation;
  definitions: Map<string, MemberDefinition>;
  seeds: Map<string, Seed>;
  secrets: FleetSecrets;
  checks: Check[];
  notes: string[];
}

/** @param from number of free addresses to skip */
export async function planAttempt(ports: Ports, options: SpawnOptions, context: SpawnContext, from: number): Promise<SpawnAttempt> {
  const imageOf = await verifiedBases(ports, context.record);
  const { platform, accelerator, notes } = await chooseOrReplace(ports, context.record, options);
  await verifiedWarmBase(ports, context.record);
  const unfinished = options.dryRun === true ? undefined : await ports.fleets.unfinished(options.fleet);
  if (unfinished !== undefined) await discardIncomplete(ports, context.record, unfinished);
  const observed = await observeWithMarks(ports, context.record);
  assertNoForeign(context.record, observed);
  assertNetworkMayChange(context.recorded, context.record, observed);
  const off = new Set(observed.filter(({ domain }) => !isOn(domain)).map(({ name }) => name));
  const allocation = await allocateAddresses(ports, context.record, off, from);
  const record: FleetRecord = { ...allocation.record, ...(accelerator === undefined ? {} : { accelerator }) };
  const id = randomUUID();
  const { seeds, secrets, placed } = await seedsOf(ports, options, context, { id, record, observed });
  const { plan, definitions } = await planMembers(ports, options, context, { record, observed, imageOf, platform, seeds, placed });
  const operation = newOperation(ports, 'spawn', {
    id,
    targets: plan.members.map((member) => member.index),
    start: options.redefine !== undefined ? 'same' : options.start === false ? 'none' : 'all',
    wasOn: [...(options.redefine?.starting ?? [])],
    record,
    wholeFleet: true,
  });
  const checks = await checksOf(ports, { record, plan, imageOf, platform, allocation });
  return { record, observed, accelerator, plan, operation, definitions, seeds, secrets, checks, notes };
}

type Placed = Awaited<ReturnType<Ports['seeds']['observe']>>;

async function seedsOf(
  ports: Ports,
  options: SpawnOptions,
  context: SpawnContext,
  { id, record, observed }: { id: string; record: FleetRecord; observed: readonly MarkedMember[] },
): Promise<{ seeds: Map<string, Seed>; secrets: FleetSecrets; placed: Placed }> {
  const secrets = await composeSecrets(ports, record, options.secrets, context.recorded?.spec.seed !== 'nocloud');
  const placed = await ports.seeds.observe(record.name);
  const isNew = new Set(observed.filter(({ overlayBytes }) => overlayBytes === undefined).map(({ name }) => name));
  const seeded = record.spec.seed === 'nocloud' ? record.members : [];
  const instanceOf = instanceIds(placed, id, (member) => isNew.has(member.name));
  return { secrets, placed, seeds: await renderSeeds(record, seeded, context.seedSources, secrets, instanceOf, options.signal) };
}

interface PlanningInput {
  record: FleetRecord;
  observed: MarkedMember[];
  imageOf: BaseLookup;
  platform: Platform;
  seeds: Map<string, Seed>;
  placed: Placed;
}

/** The steps of each member, without members that must not be changed, and their definitions. */
async function planMembers(
  ports: Ports,
  options: SpawnOptions,
  context: SpawnContext,
  { record, observed, imageOf, platform, seeds, placed }: PlanningInput,
): Promise<{ plan: Plan; definitions: Map<string, MemberDefinition> }> {
  const rendered = await renderDefinitions(ports, record, record.members, imageOf, platform, context.template, options.signal);
  const changesOf = describeChanges(context.recorded, record);
  const subjects = observed.map((member) => ({
    ...member,
    definition: rendered.get(member.name)?.definition ?? '',
    changes: changesOf(member.mark),
    seedLack: seedLack(seeds.get(member.name), placed.get(member.name)),
  }));
  const wanted = restricted(planSpawn(subjects, record.id), options);
  const inPlace = await refuseMisplaced(ports, record, observed, wanted);
  // Redefining a member restores its own disks.
  const needsCheck = ({ steps }: Plan['members'][number]): boolean => steps.includes('start') && !steps.includes('define');
  const own = await refuseForeignDisks(ports, record, observed, inPlace, needsCheck);
  const chained = await withChains(ports, record, record.members, withClones(own, observed, record), imageOf, rendered);
  const earlier = await earlierDefinitions(ports, context, chained.plan, imageOf, platform, options.signal);
  const kept = await withoutAdditions(ports, record, observed, chained.plan, chained.definitions, earlier, options.signal);
  const plan = options.redefine === undefined ? await withGrowth(ports, record, observed, kept.plan) : kept.plan;
  return { plan, definitions: kept.definitions };
}

async function checksOf(
  ports: Ports,
  {
    record,
    plan,
    imageOf,
    platform,
    allocation,
  }: { record: FleetRecord; plan: Plan; imageOf: BaseLookup; platform: Platform; allocation: Allocation },
): Promise<Check[]> {
  const count = (...steps: string[]): number => plan.members.filter((member) => member.steps.some((step) => steps.includes(step))).length;
  const clones = await demandOfClones(ports, record, count('restore'));
  const starting = clones === undefined ? count('start', 'restore') : count('start');
  const { memoryMiB } = record.spec;
  const demand = { starting, creating: count('overlay'), memoryMiB, virtualBytes: virtualBytesOf(record, imageOf), clones };
  return [
    await checkMemory(ports, demand),
    ...(await checkDisk(ports, demand)),
    await checkNetwork(ports, record.spec.network),
    ...checkMachine(record.spec, platform),
    ...(await checkOverlays(ports, record, imageOf)),
    await checkReach(ports, baseTargets(record, imageOf)),
    ...(allocation.check === undefined ? [] : [allocation.check]),
  ];
}
