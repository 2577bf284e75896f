import { reportOf } from '../../../core/errors.js';
import type { Operation } from '../../../core/fleet/operation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import { basesOf, type FleetRecord } from '../../../core/fleet/record.js';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import { excerpt } from '../../../core/guest/text.js';
import { formatBaseRef } from '../../../core/image/base.js';
import { assertNothingUnfinished, assertWork, type WorkOptions, withFleetLock } from '../../../services/fleet/access.js';
import type { TeardownOptions } from '../../../services/fleet/teardown/teardown.js';
import type { TeardownLoss } from '../../../services/fleet/teardown/teardown-loss.js';
import { newOperation, prepared } from '../../../services/run/run-plan.js';
import type { NovaContext } from '../context.js';
import { isDeleting } from '../core/members.js';
import { planTeardown } from '../core/plan.js';
import { dryChange, executeChange } from './change.js';
import { observeFleet } from './observe.js';
import { intendedFleet } from './record.js';
import { removeImage } from './remove-image.js';
import { observeChosen } from './reset.js';

/** Of servers that are kept: so many are named in a note. */
const namedOrphans = 10;

/** Deletes servers of the fleet; for a whole fleet also its record. Only servers with the fleet's tag and id are deleted. */
export async function teardown(context: NovaContext, options: TeardownOptions): Promise<Outcome> {
  const { fleets } = context.ports;
  assertWork(options);
  // Removing the whole fleet supersedes any unfinished operation.
  const supersedes = (): boolean => options.members === undefined || options.members.length === 0;
  if (options.dryRun === true) {
    await assertNothingUnfinished({ fleets }, options.fleet, supersedes);
    return begin(context, options);
  }
  return withFleetLock({ fleets }, options.fleet, async () => {
    await assertNothingUnfinished({ fleets }, options.fleet, supersedes);
    return begin(context, options);
  });
}

async function begin(context: NovaContext, options: TeardownOptions): Promise<Outcome> {
  const { clock, fleets } = context.ports;
  const began = clock.monotonic();
  const record = await intendedFleet(context, options.fleet);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const operation = newOperation(context.ports, 'teardown', {
    targets: chosen.map(({ index }) => index),
    start: 'none',
    // The intent may be the only record of the members of an interrupted spawn.
    record,
    wholeFleet: options.members === undefined || options.members.length === 0,
    withBase: options.withBase === true,
  });
  const observed = await observeChosen(context, record, chosen, options);
  if (options.dryRun === true) {
    const plan = planTeardown(observed);
    return dryChange(context, { verb: 'teardown', id: operation.id, record, plan, observed, doneAs: () => 'removed', began });
  }
  const supersedes = (await fleets.unfinished(record.name)) !== undefined;
  await fleets.beginOperation(record.name, operation);
  return finishTeardown(context, operation, new Set(), { ...options, isResumed: supersedes });
}

/** Completes a teardown whose intent is written. The fleet is locked. */
export async function finishTeardown(
  context: NovaContext,
  operation: Operation,
  done: ReadonlySet<number>,
  options: WorkOptions & { fleet: string; isResumed: boolean },
): Promise<Outcome> {
  const { clock, fleets } = context.ports;
  const began = clock.monotonic();
  const record = operation.record ?? (await intendedFleet(context, options.fleet));
  const left = record.members.filter(({ index }) => operation.targets.includes(index) && !done.has(index));
  const observed = await prepared({ fleets }, record.name, options.isResumed, () => observeChosen(context, record, left));
  const plan = planTeardown(observed);
  const { run, outcome, isComplete } = await executeChange(
    context,
    {
      ...{ verb: 'teardown', id: operation.id, record, plan, observed, doneAs: () => 'removed' as const, began },
      steps: { journaled: true, deletesAll: true },
    },
    options,
  );
  if (!isComplete) return outcome;
  const gone = new Set([...done, ...run.results.filter(({ kind }) => kind === 'done').map(({ member }) => member.index)]);
  const remaining = record.members.filter(({ index }) => !gone.has(index));
  const notes =
    operation.wholeFleet && remaining.length === 0
      ? await removeRest(context, record, operation, options)
      : await keepRest(context, { ...record, members: remaining });
  return { ...outcome, notes: [...outcome.notes, ...notes] };
}

async function keepRest({ ports }: NovaContext, record: FleetRecord): Promise<string[]> {
  await ports.fleets.write(record);
  await ports.fleets.endOperation(record.name);
  return [];
}

/** Servers that have appeared meanwhile, the base image, and at last the record: if something fails, it is repeated. */
async function removeRest(context: NovaContext, record: FleetRecord, operation: Operation, options: WorkOptions): Promise<string[]> {
  const { fleets } = context.ports;
  const { members, orphans, foreign } = await observeFleet(context, record);
  // Of requests of a killed run that were done only now.
  const late = members.flatMap(({ server, extra }) => (server === undefined ? [] : [server, ...extra]));
  for (const server of late) if (!isDeleting(server)) await context.cloud.servers.delete(server);
  const notes: string[] = [];
  if (orphans.length > 0) {
    const again = `cowherd status ${record.name} --recover, then cowherd teardown ${record.name}`;
    const names = orphans.slice(0, namedOrphans).map(({ name, id }) => `${excerpt(name)} (${id})`);
    const more = orphans.length > names.length ? ` and ${orphans.length - names.length} more` : '';
    notes.push(
      `kept ${orphans.length} servers of this fleet that are not in its record: ${names.join(', ')}${more}; to delete them, too: ${again}`,
    );
  }
  if (foreign.length > 0) notes.push(`kept ${foreign.length} servers of another fleet with this name`);
  if (operation.withBase) {
    for (const base of basesOf(record)) {
      try {
        await removeImage(context, record.placement?.images[base.digest] ?? formatBaseRef(base), {
          signal: options.signal,
          except: record.name,
        });
        notes.push(`base ${formatBaseRef(base)} removed`);
      } catch (error) {
        notes.push(`base kept: ${reportOf(error).message}`);
      }
    }
  }
  const left = await fleets.removeFleet(record.name);
  if (left.length > 0) notes.push(`kept ${left.length} files that are not cowherd's: ${left.slice(0, 3).join(', ')}`);
  return notes;
}

export async function teardownLoss(context: NovaContext, fleet: string, members: readonly string[]): Promise<TeardownLoss> {
  const record = await intendedFleet(context, fleet);
  const chosen = await observeChosen(context, record, selectMembers(record.name, record.members, members));
  const running = chosen.filter(({ domain }) => domain?.state === 'running').length;
  return { fleet, members: chosen.length, running, driftBytes: null, checkpoints: 0 };
}
