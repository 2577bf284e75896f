import { isDiskFull, reportOf } from '../../core/errors.js';
import { memberDisks } from '../../core/fleet/disks.js';
import { isForeign } from '../../core/fleet/foreign-member.js';
import type { Operation } from '../../core/fleet/operation.js';
import type { Outcome } from '../../core/fleet/outcome.js';
import { planTeardown } from '../../core/fleet/plan.js';
import { basesOf, type FleetRecord } from '../../core/fleet/record.js';
import { selectMembers } from '../../core/fleet/selection.js';
import { formatBaseRef } from '../../core/image/base.js';
import { assertName } from '../../core/names.js';
import type { Freeze, Ports } from '../../ports/index.js';
import { removeBase } from '../base/bases.js';
import { abandonFreeze } from '../clone/source-vm.js';
import { isComplete } from '../run/member-executor.js';
import { byName, dryOutcome, emptyOutcome, executePlan, newOperation, prepared } from '../run/run-plan.js';
import { assertNothingUnfinished, assertWork, loadFleet, observeWithMarks, type WorkOptions, withFleetLock } from './access.js';
import { recordAsFound, refuseOtherStores } from './reset/backing-check.js';
import { Releasing, releaseAddresses } from './spawn/reservations.js';

export interface TeardownOptions extends WorkOptions {
  fleet: string;
  /** Names, numbers or ranges; the whole fleet where there are none. */
  members?: readonly string[] | undefined;
  /** Remove the base image too, if no other fleet stands on it. */
  withBase?: boolean | undefined;
  dryRun?: boolean | undefined;
}

/** Takes members down: domains with all that libvirt keeps of them, overlays, logs, and for a whole fleet its state. Nothing else. */
export async function teardown(ports: Ports, options: TeardownOptions): Promise<Outcome> {
  const { fleet } = options;
  assertWork(options);
  // Taking all of it down makes whatever was under way pointless.
  const supersedes = (): boolean => options.members === undefined || options.members.length === 0;
  if (options.dryRun === true) {
    await assertNothingUnfinished(ports, fleet, supersedes);
    return begin(ports, options);
  }
  return withFleetLock(ports, fleet, async () => {
    await assertNothingUnfinished(ports, fleet, supersedes);
    return begin(ports, options);
  });
}

async function begin(ports: Ports, options: TeardownOptions): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const freeze = await loneFreeze(ports, options.fleet);
  if (freeze !== undefined) return takeBackFreeze(ports, options, freeze, began);
  const record = await meantFleet(ports, options.fleet);
  const wholeFleet = options.members === undefined || options.members.length === 0;
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const operation = newOperation(ports, 'teardown', {
    targets: chosen.map((member) => member.index),
    start: 'none',
    // The members of an interrupted spawn are known from its intent alone.
    record,
    wholeFleet,
    withBase: options.withBase === true,
  });
  if (options.dryRun === true) {
    const observed = await observeWithMarks(ports, { ...record, members: chosen });
    const plan = await refuseOtherStores(ports, record, observed, planTeardown(observed, record.id));
    return dryOutcome(ports, {
      verb: 'teardown',
      id: operation.id,
      record,
      plan,
      before: byName(observed),
      doneAs: () => 'removed',
      began,
    });
  }
  const supersedes = (await ports.fleets.unfinished(record.name)) !== undefined;
  // libvirt must answer before the intent is written: without it nothing could be done, and the fleet would be blocked.
  await ports.hypervisor.listDomains();
  const journaled = await beginIfRoom(ports, record.name, operation);
  return finishTeardown(ports, operation, new Set(), { ...options, isResumed: supersedes, journaled });
}

/** Of a spawn that was killed before it had a fleet. */
export async function loneFreeze({ fleets, memory }: Ports, fleet: string): Promise<Freeze | undefined> {
  assertName('fleet', fleet);
  if ((await fleets.read(fleet)) !== undefined || (await fleets.unfinished(fleet)) !== undefined) return undefined;
  return memory.readFreeze(fleet);
}

async function takeBackFreeze(ports: Ports, { fleet, dryRun }: TeardownOptions, freeze: Freeze, began: number): Promise<Outcome> {
  const notes = dryRun === true ? [`${freeze.domain} would go on, if it is frozen still`] : await abandonFreeze(ports, fleet, freeze);
  return emptyOutcome(ports, { verb: 'teardown', fleet, base: freeze.taken?.base ?? { name: freeze.domain, digest: '' }, began, notes });
}

/**
 * A teardown is what frees a full disk: where there is no room even for its intent, it goes on without. The record stays until
 * the end, so that the same command again finishes what was interrupted.
 */
async function beginIfRoom({ fleets }: Pick<Ports, 'fleets'>, fleet: string, operation: Operation): Promise<boolean> {
  try {
    await fleets.beginOperation(fleet, operation);
    return true;
  } catch (error) {
    if (isDiskFull(error)) return false;
    throw error;
  }
}

/** The record, or what an interrupted spawn meant it to be. */
export async function meantFleet(ports: Ports, fleet: string): Promise<FleetRecord> {
  const operation = (await ports.fleets.unfinished(fleet))?.operation;
  if (operation?.record === undefined) return loadFleet(ports, fleet);
  // What an interrupted rebase meant is not where its members stand.
  if (operation.verb === 'rebase') return recordAsFound(ports, await loadFleet(ports, fleet), basesOf(operation.record));
  return operation.record;
}

/** Does what is left of a teardown whose intent is written. The fleet is locked. */
export async function finishTeardown(
  ports: Ports,
  operation: Operation,
  done: ReadonlySet<number>,
  options: WorkOptions & { fleet: string; isResumed: boolean; journaled?: boolean },
): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const record = operation.record ?? (await loadFleet(ports, options.fleet));
  const left = record.members.filter((member) => operation.targets.includes(member.index) && !done.has(member.index));
  const observed = await prepared(ports, record.name, options.isResumed, () => observeWithMarks(ports, { ...record, members: left }));
  const before = byName(observed);
  const releasing = new Releasing(ports, record);
  const { run, outcome } = await executePlan(
    ports,
    {
      verb: 'teardown',
      id: operation.id,
      record,
      plan: await refuseOtherStores(ports, record, observed, planTeardown(observed, record.id)),
      before,
      doneAs: () => 'removed',
      began,
      context: {
        journaled: options.journaled !== false,
        stemsOf: (member) => memberDisks(record, member).map(({ stem }) => stem),
        perform: { undefine: (member) => ports.hypervisor.undefine(member.name).then(() => releasing.begin(member)) },
      },
    },
    options,
  );
  await releasing.idle();
  const gone = new Set([...done, ...run.results.filter((result) => result.kind === 'done').map((result) => result.member.index)]);
  const freedBytes = observed.reduce((sum, member) => sum + (gone.has(member.index) ? (member.overlayBytes ?? 0) : 0), 0);
  const namesakes = observed
    .filter((member) => member.unread === undefined && isForeign(member, record.id))
    .map((member) => `left alone: the domain ${member.domain?.name} is not of this fleet`);
  if (!isComplete(run)) return { ...outcome, freedBytes };
  // While the operation is still known: what fails here is done again by resume.
  await releaseAddresses(
    ports,
    record,
    record.members.filter((member) => gone.has(member.index)),
  );

  const remaining = record.members.filter((member) => !gone.has(member.index));
  const notes =
    operation.wholeFleet && remaining.length === 0
      ? await removeRest(ports, record, operation, options)
      : await keepRest(ports, record, remaining);
  return { ...outcome, freedBytes, notes: [...outcome.notes, ...namesakes, ...notes] };
}

async function keepRest(ports: Ports, record: FleetRecord, remaining: FleetRecord['members']): Promise<string[]> {
  await ports.fleets.write({ ...record, members: remaining });
  await ports.fleets.endOperation(record.name);
  return [];
}

async function removeRest(ports: Ports, record: FleetRecord, operation: Operation, options: WorkOptions): Promise<string[]> {
  const notes: string[] = [];
  // While the fleet's own state still says that this is to be done.
  if (operation.withBase) {
    for (const ref of basesOf(record)) {
      try {
        const base = await ports.bases.get(ref);
        if (base === undefined) continue;
        await removeBase(ports, `${base.name}@${base.digest}`, record.name, options);
        notes.push(`base ${formatBaseRef(base)} removed`);
      } catch (error) {
        notes.push(`base kept: ${reportOf(error).message}`);
      }
    }
  }
  const left = await ports.fleets.removeFleet(record.name);
  if (left.length > 0) notes.push(`kept ${left.length} files that are not cowherd's: ${left.slice(0, 3).join(', ')}`);
  return notes;
}
