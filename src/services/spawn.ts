import { randomUUID } from 'node:crypto';
import { CowherdError } from '../core/errors.js';
import { type FleetRecord, growMembers } from '../core/fleet.js';
import { limits, verifyWithin } from '../core/limits.js';
import { verifyName } from '../core/names.js';
import type { Outcome } from '../core/outcome.js';
import type { Plan } from '../core/plan.js';
import { domainSpecSchema } from '../core/spec.js';
import type { Ports } from '../ports.js';
import { emptyOutcome } from './change.js';
import { checkDisk, checkStore, verifyChecks } from './checks.js';
import { loadTemplate } from './definitions.js';
import { dryPorts } from './dry-run/ports.js';
import { earlyChecks, foresee, withForeseen } from './dry-run/refusal.js';
import { verifyNothingUnfinished, verifyWork, withFleetLock } from './fleet-access.js';
import { type GoldenDomain, goldenDomain } from './from-domain.js';
import { fleetTargets } from './reach.js';
import { verifyWaitable } from './readiness.js';
import { loadSeedSources } from './seeds.js';
import { applySpawn } from './spawn-apply.js';
import { composeRecord, readNvram, resolveBase, verifyCount } from './spawn-inputs.js';
import type { SpawnOptions } from './spawn-options.js';
import { verifyAlone, verifyFreezable, verifyWarm } from './warm/freezable.js';
import { freezeDomain } from './warm/freeze.js';
import { findGolden } from './warm/golden.js';

/** Makes the world be as the spec says: imports the base, creates what is missing, starts what is off. Running it again converges. */
export async function spawn(ports: Ports, options: SpawnOptions): Promise<Outcome> {
  verifyName('fleet', options.fleet);
  verifyWork(options);
  verifyWithin({ count: [options.count, limits.members] });
  if (options.dryRun === true) return spawnLocked(dryPorts(ports), options);
  // Before the lock, which is a file of the store.
  verifyChecks(await checkStore(ports, fleetTargets(ports, options.fleet)), options.force === true);
  return withFleetLock(ports, options.fleet, () => spawnLocked(ports, options));
}

/** As {@link spawn}, of a fleet that is locked already. */
export async function spawnLocked(ports: Ports, asked: SpawnOptions): Promise<Outcome> {
  const { fleet } = asked;
  const began = ports.clock.monotonic();
  await verifyNothingUnfinished(ports, fleet, ({ operation }) => operation.verb === 'spawn');
  // What an interrupted spawn meant to make counts as recorded: its members may be there already.
  const recorded = (await ports.fleets.unfinished(fleet))?.operation.record ?? (await ports.fleets.read(fleet));
  verifyCount(fleet, recorded, asked.count);

  // A dry run tells of it at the end, with all else.
  const early = asked.dryRun === true ? [] : verifyChecks(await checkDisk(ports), asked.force === true);
  if (recorded === undefined) await verifyNoOtherFreeze(ports, asked);
  // What is put into the head of a memory must be the machine that the memory is of.
  if (recorded?.spec.warm !== undefined) verifyAlone(asked);
  if (asked.fromRunning !== undefined) {
    if (recorded !== undefined) await verifyWarm(ports, recorded, asked.fromRunning);
    else if (asked.dryRun === true) return dryClones(ports, { ...asked, count: asked.count ?? 0 }, began);
    else return spawnFrozen(ports, asked, began);
  }
  const golden = await goldenDomain(ports, asked);
  const options = golden === undefined ? asked : withGolden(asked, golden, recorded);
  const { base, notes } = await resolveBase(ports, options, recorded);
  const importSeconds = (ports.clock.monotonic() - began) / 1000;
  const template =
    golden?.template ??
    (await loadTemplate(ports, recorded, options.template ?? (recorded === undefined ? asked.defaults?.template : undefined)));
  const seeds = await loadSeedSources(ports, recorded, options.seedFiles);
  const nvram = golden?.nvram ?? (await readNvram(ports, options.nvram));
  const sources = {
    ...seeds.digests,
    ...(template.digest === undefined ? {} : { template: template.digest }),
    ...(nvram === undefined ? {} : { nvram: nvram.digest }),
  };
  const record = await composeRecord(ports, options, recorded, base, sources);
  verifyWaitable(record.spec, options.wait);
  return applySpawn(ports, options, {
    recorded,
    record,
    nvram: nvram?.bytes,
    template,
    seedSources: seeds.sources,
    began,
    importSeconds,
    notes: [...notes, ...(golden?.notes ?? []), ...early],
  });
}

/** A new fleet of a VM that runs. */
async function spawnFrozen(ports: Ports, asked: SpawnOptions, began: number): Promise<Outcome> {
  const { fleet, count = 0 } = asked;
  const frozen = await freezeDomain(ports, { ...asked, count });
  const importSeconds = (ports.clock.monotonic() - began) / 1000;
  try {
    const sources = { template: frozen.template.digest ?? '', warm: frozen.warm };
    const options = { ...asked, spec: frozen.spec };
    const composed = await composeRecord(ports, options, undefined, frozen.base, sources);
    // In the order in which a later run composes it: else the domains' marks would differ, and all would be redefined.
    const { template: ownTemplate, ...rest } = domainSpecSchema.parse(composed.spec);
    const record = { ...composed, spec: { ...rest, template: ownTemplate } };
    verifyWaitable(record.spec, asked.wait);
    const { sources: seedSources } = await loadSeedSources(ports, undefined, undefined);
    const { template, notes } = frozen;
    const given = { recorded: undefined, record, nvram: undefined, template, seedSources, began, importSeconds, notes };
    return await applySpawn(ports, options, given);
  } catch (error) {
    // Once the fleet's own intent is there, that says how to go on.
    if (!(await isBegun(ports, fleet).catch(() => true))) await frozen.giveUp();
    throw error;
  }
}

async function isBegun(ports: Ports, fleet: string): Promise<boolean> {
  return (await ports.fleets.unfinished(fleet)) !== undefined || (await ports.fleets.read(fleet)) !== undefined;
}

/** Made another way, nobody would let the golden VM go on that a killed run left frozen. @throws UNFINISHED_OPERATION */
async function verifyNoOtherFreeze(ports: Ports, { fleet, fromRunning }: SpawnOptions): Promise<void> {
  const begun = await ports.memory.readFreeze(fleet);
  if (begun === undefined || fromRunning === begun.domain || fromRunning === begun.uuid) return;
  throw new CowherdError('UNFINISHED_OPERATION', `A spawn of fleet ${fleet} from ${begun.domain} was interrupted`, {
    details: [`it began ${begun.startedAt}`],
    hint: `Finish it first: cowherd resume ${fleet}`,
  });
}

/** What would be done: nothing is frozen for it. */
async function dryClones(ports: Ports, options: SpawnOptions & { count: number }, began: number): Promise<Outcome> {
  const { fleet, count, fromRunning = '' } = options;
  verifyAlone(options);
  const golden = await findGolden(ports, fromRunning);
  await verifyFreezable(ports, options, golden);
  const members = growMembers(fleet, randomUUID(), [], count);
  const plan: Plan = {
    members: members.map(({ index, name }) => ({
      index,
      name,
      steps: ['overlay', 'define', 'restore'],
      why: `no domain, clone of ${golden.name}`,
      atNextStart: false,
    })),
    unchanged: [],
    refused: [],
  };
  const base = { name: golden.name, digest: '' };
  const notes = [`${golden.name} would stand still while its disk is read; a dry run leaves it alone`];
  const outcome = { ...emptyOutcome(ports, { verb: 'spawn', fleet, base, members, plan, began, notes }), plan };
  return withForeseen(outcome, foresee(await earlyChecks(ports), options.force === true));
}

/** What the domain says stands below what was asked for, and of a fleet that exists below what was asked for then. */
function withGolden(
  options: SpawnOptions,
  { base, spec }: GoldenDomain,
  recorded: FleetRecord | undefined,
): SpawnOptions & { baseName: string } {
  const given = Object.fromEntries(Object.entries(options.spec ?? {}).filter(([, value]) => value !== undefined));
  const { memoryMiB, vcpus, virtType } = recorded?.spec ?? spec;
  const kept = { memoryMiB, vcpus, virtType };
  return { ...options, base: base.path, format: base.format, baseName: base.name, spec: { ...spec, ...kept, ...given } };
}
