import { CowherdError } from '../../../core/errors.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { Plan } from '../../../core/fleet/plan/member-plan.js';
import type { FleetSecrets, SeedSources } from '../../../core/guest/seed.js';
import { excerpt } from '../../../core/guest/text.js';
import { formatBaseRef, isBaseRef } from '../../../core/image/base.js';
import { assertWithin, limits } from '../../../core/limits.js';
import { assertName } from '../../../core/names.js';
import { assertNothingUnfinished, assertWork, withFleetLock } from '../../../services/fleet/access.js';
import { assertCount } from '../../../services/fleet/spawn/input/inputs.js';
import type { SpawnOptions } from '../../../services/fleet/spawn/input/options.js';
import { composeSecrets, loadSeedSources, renderSeeds, writeSshFiles } from '../../../services/guest/seeds.js';
import { assertChecks } from '../../../services/preflight/checks.js';
import { foresee, withForeseen } from '../../../services/run/dry-run/refusal.js';
import { newOperation } from '../../../services/run/run-plan.js';
import type { NovaContext } from '../context.js';
import { serverOf } from '../core/member-server.js';
import type { ObservedFleet } from '../core/members.js';
import { planSpawn } from '../core/plan.js';
import { dryChange, executeChange, type NovaChange } from './change.js';
import { type ChosenImage, chooseImage, chosen } from './choose-image.js';
import { observeFleet } from './observe.js';
import { composePlacement } from './placement.js';
import { checkFlavor, checkQuota } from './quota.js';
import { asNova, type NovaRecord, ofThisProject } from './record.js';
import { assertNothingLost, composeRecord } from './spawn-record.js';
import { assertNovaWaitable } from './wait.js';

/** Creates the servers of a fleet, or what is missing of it. Repeating it changes nothing. */
export async function spawn(context: NovaContext, options: SpawnOptions): Promise<Outcome> {
  const { fleets } = context.ports;
  assertName('fleet', options.fleet);
  assertWork(options);
  assertWithin({ count: [options.count, limits.members] });
  assertNovaWaitable(options.wait);
  const supersedes = ({ operation }: { operation: { verb: string } }): boolean => operation.verb === 'spawn';
  if (options.dryRun === true) {
    await assertNothingUnfinished({ fleets }, options.fleet, supersedes);
    return begin(context, options);
  }
  return withFleetLock({ fleets }, options.fleet, async () => {
    await assertNothingUnfinished({ fleets }, options.fleet, supersedes);
    return begin(context, options);
  });
}

async function begin(context: NovaContext, options: SpawnOptions): Promise<Outcome> {
  const { clock, fleets } = context.ports;
  const began = clock.monotonic();
  const recorded = await recordedFleet(context, options.fleet);
  assertCount(options.fleet, recorded, options.count);
  // Before a file is uploaded.
  const placement = await composePlacement(context, options, recorded);
  const { sources, digests } = await loadSeedSources(context.ports, recorded, options.seedFiles);
  const image = await imageOf(context, options, recorded);
  const record = composeRecord(context, options, recorded, { image, placement, digests });
  const secrets = await composeSecrets(context.ports, recorded ?? record, options.secrets, recorded === undefined);
  const found = await observeFleet(context, record, options);
  if (recorded === undefined) assertNoOtherFleet(context, record, found);
  assertNothingLost(record, found.members, options);
  const plan = planSpawn(found.members, { start: options.start !== false });
  const userDataOf = await renderUserData(record, plan, { sources, secrets }, options);
  const checks = [...checkFlavor(placement, image, plan), ...(await checkQuota(context, record, found.members, options))];
  const operation = newOperation(context.ports, 'spawn', {
    targets: record.members.map(({ index }) => index),
    start: options.start === false ? 'none' : 'all',
    record,
  });
  const change: NovaChange = {
    ...{ verb: 'spawn', id: operation.id, record, plan, observed: found.members, began },
    doneAs: (_name, steps) => (steps.includes('create') ? 'created' : steps.includes('start') ? 'started' : 'unchanged'),
    steps: { journaled: true, newServer: (member) => serverOf(record, member, userDataOf.get(member.name)) },
    wait: assertNovaWaitable(options.wait),
    timeoutMs: options.timeoutMs,
  };
  if (options.dryRun === true)
    return withForeseen(dryChange(context, { ...change, notes: image.notes }), foresee(checks, options.force === true));
  const notes = [...image.notes, ...assertChecks(checks, options.force === true), ...foreignNotes(found)];
  // Before the intent: whatever resumes it needs them.
  await writeSources(context, record, plan, { sources, secrets, digests });
  await fleets.beginOperation(record.name, operation);
  await fleets.write(record);
  const { outcome, isComplete } = await executeChange(context, { ...change, notes }, options);
  if (isComplete) await fleets.endOperation(record.name);
  return outcome;
}

/** The intent of an interrupted spawn counts as recorded: its servers may exist already. */
async function recordedFleet(context: NovaContext, fleet: string): Promise<NovaRecord | undefined> {
  const { fleets } = context.ports;
  const record = (await fleets.unfinished(fleet))?.operation.record ?? (await fleets.read(fleet));
  return record === undefined ? undefined : ofThisProject(context, asNova(record, context.uri));
}

/** An existing fleet keeps its image: only a rebase moves it. */
async function imageOf(context: NovaContext, options: SpawnOptions, recorded: NovaRecord | undefined): Promise<ChosenImage> {
  if (recorded === undefined) {
    if (options.base !== undefined) return chooseImage(context, options.base, { ...options, isPreview: options.dryRun === true });
    throw new CowherdError('BAD_USAGE', `No base image given for fleet ${options.fleet}`, {
      hint: 'Add --base FILE, or --base NAME with a name or id from "openstack image list".',
    });
  }
  const { base, placement, name } = recorded;
  const id = placement.images[base.digest] ?? '';
  const image = await context.cloud.images.get(id, options);
  if (image === undefined || image.status !== 'active') {
    throw new CowherdError('BASE_CHANGED', `Image ${id} of fleet ${name} (${formatBaseRef(base)}) can no longer be used`, {
      hint: `Move the fleet to another image: cowherd rebase ${name} --base NAME`,
    });
  }
  if (options.base === undefined || isSameBase(options.base, recorded, id)) return chosen(image);
  const given = await chooseImage(context, options.base, { ...options, isPreview: true });
  if (given.id === id || given.base.digest === base.digest) return chosen(image);
  throw new CowherdError('BAD_USAGE', `Fleet ${name} is based on ${formatBaseRef(base)}, not on ${formatBaseRef(given.base)}`, {
    hint: `Move it: cowherd rebase ${name} --base ${options.base}. Or leave out --base.`,
  });
}

function isSameBase(given: string, { base }: NovaRecord, id: string): boolean {
  return given === id || (isBaseRef(given) && (given === base.name || formatBaseRef(base) === given));
}

/** Servers of a fleet of this name whose record is elsewhere, or lost. @throws STATE_DAMAGED */
function assertNoOtherFleet({ title }: NovaContext, { name }: NovaRecord, { foreign, orphans }: ObservedFleet): void {
  const others = [...foreign, ...orphans];
  if (others.length === 0) return;
  throw new CowherdError(
    'STATE_DAMAGED',
    `${title} already has ${others.length} servers of a fleet ${name}, but there is no record of it here`,
    {
      details: others.slice(0, 5).map((server) => `${excerpt(server.name)} (${server.id})`),
      hint: `If it is yours: cowherd status ${name} --recover. Otherwise choose another name.`,
    },
  );
}

function foreignNotes({ foreign, orphans }: ObservedFleet): string[] {
  return [
    ...(foreign.length === 0 ? [] : [`${foreign.length} servers of another fleet with this name are not touched`]),
    ...(orphans.length === 0 ? [] : [`${orphans.length} servers of this fleet are not in its record: see "cowherd verify"`]),
  ];
}

function creatingIn(plan: Plan): Set<string> {
  return new Set(plan.members.filter(({ steps }) => steps.includes('create')).map(({ name }) => name));
}

/** The user-data of the members that are created. */
async function renderUserData(
  record: NovaRecord,
  plan: Plan,
  { sources, secrets }: { sources: SeedSources; secrets: FleetSecrets },
  { signal }: SpawnOptions,
): Promise<ReadonlyMap<string, string>> {
  if (record.spec.seed !== 'nocloud') return new Map();
  const creating = creatingIn(plan);
  const members = record.members.filter(({ name }) => creating.has(name));
  const seeds = await renderSeeds(record, members, sources, secrets, ({ name }) => name, signal);
  return new Map([...seeds].flatMap(([name, { files }]) => (files['user-data'] === undefined ? [] : [[name, files['user-data']]])));
}

/** What the user-data of later members is rendered from, and the keys for logins. */
async function writeSources(
  { ports }: NovaContext,
  record: NovaRecord,
  plan: Plan,
  { sources, secrets, digests }: { sources: SeedSources; secrets: FleetSecrets; digests: Partial<Record<string, string>> },
): Promise<void> {
  if (record.spec.seed === 'nocloud') {
    await ports.seeds.writeSecrets(record.name, secrets);
    const kind = sources.userData.isRaw === true ? 'userDataRaw' : 'userData';
    const digest = digests[kind];
    if (digest !== undefined) await ports.fleets.writeSource(record.name, kind, digest, sources.userData.text);
    const seeds = await renderSeeds(record, record.members, sources, secrets, ({ name }) => name);
    const { name: fleet, members } = record;
    const filesOf = await ports.seeds.sshFiles(fleet);
    const creating = creatingIn(plan);
    // Existing servers keep the user-data that they were created with: it may have no host key, or be lost.
    const others = members.filter(({ name }) => !creating.has(name) && !filesOf(name).isPinned).map(({ name }) => name);
    await writeSshFiles(ports, record, secrets, seeds, new Set(others));
  } else await ports.seeds.writeSshFiles(record.name, undefined, new Map());
}
