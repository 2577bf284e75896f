import { isDiskFull, reportOf } from '../../../core/errors.js';
import { memberDisks } from '../../../core/fleet/disks.js';
import { isForeign } from '../../../core/fleet/foreign-member.js';
import type { Operation } from '../../../core/fleet/operation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import { planTeardown } from '../../../core/fleet/plan/plan.js';
import { basesOf, type FleetRecord } from '../../../core/fleet/record.js';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import { formatBaseRef } from '../../../core/image/base.js';
import { assertName } from '../../../core/names.js';
import type { Freeze, Ports } from '../../../ports/index.js';
import { removeBase } from '../../base/bases.js';
import { abandonFreeze } from '../../clone/source-vm.js';
import { isComplete } from '../../run/member-executor.js';
import { byName, dryOutcome, emptyOutcome, executePlan, newOperation, prepared } from '../../run/run-plan.js';
import { assertNothingUnfinished, assertWork, loadFleet, observeWithMarks, type WorkOptions, withFleetLock } from '../access.js';
import { recordAsFound, refuseOtherStores } from '../disks/backing-check.js';
import { Releasing, releaseAddresses } from '../spawn/reservations.js';

export interface TeardownOptions extends WorkOptions {
  fleet: string;
  /** Names, numbers or ranges; default: the whole fleet. */
  members?: readonly string[] | undefined;
  /** Also remove the base image if no other fleet uses it. */
  withBase?: boolean | undefined;
  dryRun?: boolean | undefined;
}

/** Removes members: their domains with all of libvirt's state, overlays and logs; for a whole fleet also its record. */
export async function teardown(ports: Ports, options: TeardownOptions): Promise<Outcome> {
  const { fleet } = options;
  assertWork(options);
  // Removing the whole fleet supersedes any unfinished operation.
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
  const freeze = await freezeWithoutFleet(ports, options.fleet);
  if (freeze !== undefined) return undoFreeze(ports, options, freeze, began);
  const record = await intendedRecord(ports, options.fleet);
  const wholeFleet = options.members === undefined || options.members.length === 0;
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const operation = newOperation(ports, 'teardown', {
    targets: chosen.map((member) => member.index),
    start: 'none',
    // The intent may be the only record of the members of an interrupted spawn.
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
  // Check that libvirt answers before the intent is written: otherwise the fleet would be blocked without any progress.
  await ports.hypervisor.listDomains();
  const journaled = await beginIfRoom(ports, record.name, operation);
  return finishTeardown(ports, operation, new Set(), { ...options, isResumed: supersedes, journaled });
}

/** The freeze of a spawn that was killed before the fleet existed. */
export async function freezeWithoutFleet({ fleets, memory }: Ports, fleet: string): Promise<Freeze | undefined> {
  assertName('fleet', fleet);
  if ((await fleets.read(fleet)) !== undefined || (await fleets.unfinished(fleet)) !== undefined) return undefined;
  return memory.readFreeze(fleet);
}

async function undoFreeze(ports: Ports, { fleet, dryRun }: TeardownOptions, freeze: Freeze, began: number): Promise<Outcome> {
  const notes = dryRun === true ? [`${freeze.domain} would be resumed if it is still frozen`] : await abandonFreeze(ports, fleet, freeze);
  return emptyOutcome(ports, { verb: 'teardown', fleet, base: freeze.taken?.base ?? { name: freeze.domain, digest: '' }, began, notes });
}

/** A teardown frees space on a full disk: if there is no space even for its intent, it continues without. The record is removed last, so that the same command completes an interrupted teardown.
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

/** The record, or the intended record of an interrupted spawn. */
export async function intendedRecord(ports: Ports, fleet: string): Promise<FleetRecord> {
  const operation = (await ports.fleets.unfinished(fleet))?.operation;
  if (operation?.record === undefined) return loadFleet(ports, fleet);
  // The intent of an interrupted rebase is not the actual base image of each member.
  if (operation.verb === 'rebase') return recordAsFound(ports, await loadFleet(ports, fleet), basesOf(operation.record));
  return operation.record;
}

/** Completes a teardown whose intent is written. The fleet is locked. */
export async function finishTeardown(
  ports: Ports,
  operation: Operation,
  done: ReadonlySet<number>,
  options: WorkOptions & { fleet: string; isResumed: boolean; journaled?: boolean },
): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const record = operation.record ?? (await loadFleet(ports, options.fleet));
  const left = record.members.filter((member) => operation.targets.includes(member.index) && !done.has(member.index));
  const { observed, plan } = await prepared(ports, record.name, options.isResumed, async () => {
    const observed = await observeWithMarks(ports, { ...record, members: left });
    return { observed, plan: await refuseOtherStores(ports, record, observed, planTeardown(observed, record.id)) };
  });
  const before = byName(observed);
  const releasing = new Releasing(ports, record);
  const { run, outcome } = await executePlan(
    ports,
    {
      verb: 'teardown',
      id: operation.id,
      record,
      plan,
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
    .map((member) => `skipped: domain ${member.domain?.name} does not belong to this fleet`);
  if (!isComplete(run)) return { ...outcome, freedBytes };
  // Before the intent is removed: if this fails, resume repeats it.
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
  // Before the fleet's record is removed: if this fails, it is repeated.
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
