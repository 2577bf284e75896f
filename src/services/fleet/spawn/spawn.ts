import { randomUUID } from 'node:crypto';
import { CowherdError } from '../../../core/errors.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { Plan } from '../../../core/fleet/plan/member-plan.js';
import { type FleetRecord, growMembers } from '../../../core/fleet/record.js';
import { resolveWait } from '../../../core/guest/stages.js';
import { formatBaseRef } from '../../../core/image/base.js';
import { assertWithin, limits } from '../../../core/limits.js';
import { assertName } from '../../../core/names.js';
import { formatNotes } from '../../../core/spec/changes.js';
import type { Ports } from '../../../ports/index.js';
import { freezeDomain } from '../../clone/freeze.js';
import { assertAlone, assertFreezable, assertWarm } from '../../clone/preflight.js';
import { findSource } from '../../clone/source-vm.js';
import { assertWaitable } from '../../guest/readiness.js';
import { loadSeedSources } from '../../guest/seeds.js';
import { assertChecks, checkDisk, checkStore } from '../../preflight/checks.js';
import { fleetTargets } from '../../preflight/reachability.js';
import { dryPorts } from '../../run/dry-run/ports.js';
import { earlyChecks, foresee, withForeseen } from '../../run/dry-run/refusal.js';
import { emptyOutcome } from '../../run/run-plan.js';
import { assertNothingUnfinished, assertWork, withFleetLock } from '../access.js';
import { applySpawn } from './apply.js';
import { resolveBase } from './input/base-input.js';
import { loadTemplate, sha256 } from './input/definitions.js';
import { readSourceDomain, type SourceDomain } from './input/from-domain.js';
import { imageNotes } from './input/image-defaults.js';
import { assertCount, composeRecord, readNvram } from './input/inputs.js';
import type { ReadySpawnOptions, SpawnOptions } from './input/options.js';

/** Creates or updates a fleet: imports the base image, creates missing members, starts stopped ones. Idempotent. */
export async function spawn(ports: Ports, options: SpawnOptions): Promise<Outcome> {
  assertName('fleet', options.fleet);
  assertWork(options);
  assertWithin({ count: [options.count, limits.members] });
  if (options.dryRun === true) return spawnLocked(dryPorts(ports), options);
  // Before taking the lock, which is a file of the store.
  assertChecks(await checkStore(ports, fleetTargets(ports, options.fleet)), options.force === true);
  return withFleetLock(ports, options.fleet, () => spawnLocked(ports, options));
}

/** As {@link spawn}, for a fleet that is already locked. */
export async function spawnLocked(ports: Ports, asked: SpawnOptions): Promise<Outcome> {
  const { fleet } = asked;
  const began = ports.clock.monotonic();
  await assertNothingUnfinished(ports, fleet, ({ operation }) => operation.verb === 'spawn');
  // The intent of an interrupted spawn counts as recorded: its members may already exist.
  const recorded = (await ports.fleets.unfinished(fleet))?.operation.record ?? (await ports.fleets.read(fleet));
  assertCount(fleet, recorded, asked.count);

  // A dry run reports it at the end.
  const early = asked.dryRun === true ? [] : assertChecks(await checkDisk(ports), asked.force === true);
  if (recorded === undefined) await assertNoOtherFreeze(ports, asked);
  // The XML in the header of a saved memory must describe the same machine.
  if (recorded?.spec.warm !== undefined) assertAlone(asked);
  if (asked.fromRunning !== undefined) {
    if (recorded !== undefined) await assertWarm(ports, recorded, asked.fromRunning);
    else {
      // The disk of a VM names no stage; say so before it is frozen.
      const ready = { ...asked, wait: resolveWait(asked.wait, `of ${asked.fromRunning}`, undefined) };
      return asked.dryRun === true ? dryClones(ports, { ...ready, count: asked.count ?? 0 }, began) : spawnFrozen(ports, ready, began);
    }
  }
  const source = await readSourceDomain(ports, asked);
  const options = source === undefined ? asked : withSource(asked, source, recorded);
  const { base, notes } = await resolveBase(ports, options, recorded);
  const importSeconds = (ports.clock.monotonic() - began) / 1000;
  const template =
    source?.template ??
    (await loadTemplate(ports, recorded, options.template ?? (recorded === undefined ? asked.defaults?.template : undefined)));
  const seeds = await loadSeedSources(ports, recorded, options.seedFiles);
  const nvram = source?.nvram ?? (await readNvram(ports, options.nvram));
  const sources = {
    ...seeds.digests,
    ...(template.digest === undefined ? {} : { template: template.digest }),
    ...(nvram === undefined ? {} : { nvram: nvram.digest }),
  };
  const record = await composeRecord(ports, options, recorded, base, sources);
  const wait = resolveWait(options.wait, formatBaseRef(base), base.defaults?.wait);
  assertWaitable(record.spec, wait);
  return applySpawn(
    ports,
    { ...options, wait },
    {
      recorded,
      record,
      nvram: nvram?.bytes,
      template,
      seedSources: seeds.sources,
      began,
      importSeconds,
      notes: [
        ...notes,
        ...(recorded === undefined ? imageNotes(options, base, record.spec) : []),
        ...(source?.notes ?? []),
        ...early,
        ...formatNotes(recorded?.spec, record.spec),
      ],
    },
  );
}

/** Creates a fleet from a running VM. */
async function spawnFrozen(ports: Ports, asked: ReadySpawnOptions, began: number): Promise<Outcome> {
  const { fleet, count = 0 } = asked;
  const frozen = await freezeDomain(ports, { ...asked, count });
  const importSeconds = (ports.clock.monotonic() - began) / 1000;
  try {
    const { nvram } = frozen;
    const sources = {
      template: frozen.template.digest ?? '',
      warm: frozen.warm,
      ...(nvram === undefined ? {} : { nvram: sha256(nvram) }),
    };
    const options = { ...asked, spec: frozen.spec };
    const record = await composeRecord(ports, options, undefined, frozen.base, sources);
    assertWaitable(record.spec, asked.wait);
    const { sources: seedSources } = await loadSeedSources(ports, undefined, undefined);
    const { template, notes } = frozen;
    const given = { recorded: undefined, record, nvram, template, seedSources, began, importSeconds, notes };
    return await applySpawn(ports, options, given);
  } catch (error) {
    // Once the fleet's own intent exists, resume continues from it.
    if (!(await isBegun(ports, fleet).catch(() => true))) await frozen.giveUp();
    throw error;
  }
}

/** Whether its record or its intent exists. */
export async function isBegun(ports: Ports, fleet: string): Promise<boolean> {
  return (await ports.fleets.unfinished(fleet)) !== undefined || (await ports.fleets.read(fleet)) !== undefined;
}

/**
 * Refuses to create the fleet another way: the source VM that a killed run left frozen would never be resumed.
 * @throws UNFINISHED_OPERATION
 */
async function assertNoOtherFreeze(ports: Ports, { fleet, fromRunning }: SpawnOptions): Promise<void> {
  const begun = await ports.memory.readFreeze(fleet);
  if (begun === undefined || fromRunning === begun.domain || fromRunning === begun.uuid) return;
  throw new CowherdError('UNFINISHED_OPERATION', `A spawn of fleet ${fleet} from ${begun.domain} was interrupted`, {
    details: [`it started at ${begun.startedAt}`],
    hint: `Finish it first: cowherd resume ${fleet}`,
  });
}

/** The plan for clones, without freezing the source VM. */
async function dryClones(ports: Ports, options: ReadySpawnOptions & { count: number }, began: number): Promise<Outcome> {
  const { fleet, count, fromRunning = '' } = options;
  assertAlone(options);
  const source = await findSource(ports, fromRunning);
  await assertFreezable(ports, options, source);
  const members = growMembers(fleet, randomUUID(), [], count);
  const plan: Plan = {
    members: members.map(({ index, name }) => ({
      index,
      name,
      steps: ['overlay', 'define', 'restore'],
      why: `no domain, clone of ${source.name}`,
      atNextStart: false,
    })),
    unchanged: [],
    refused: [],
  };
  const base = { name: source.name, digest: '' };
  const notes = [`${source.name} would be paused while its disk is read; a dry run does not pause it`];
  const outcome = { ...emptyOutcome(ports, { verb: 'spawn', fleet, base, members, plan, began, notes }), plan };
  return withForeseen(outcome, foresee(await earlyChecks(ports), options.force === true));
}

/** Values from the domain are overridden by options, and in an existing fleet by its record. */
function withSource(
  options: SpawnOptions,
  { base, spec }: SourceDomain,
  recorded: FleetRecord | undefined,
): SpawnOptions & { baseName: string } {
  const given = Object.fromEntries(Object.entries(options.spec ?? {}).filter(([, value]) => value !== undefined));
  const { memoryMiB, vcpus, virtType } = recorded?.spec ?? spec;
  const kept = { memoryMiB, vcpus, virtType };
  return { ...options, base: base.path, format: base.format, baseName: base.name, spec: { ...spec, ...kept, ...given } };
}
