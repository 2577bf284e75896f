import { CowherdError } from '../../../core/errors.js';
import type { Operation } from '../../../core/fleet/operation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import { assertNothingUnfinished, assertWork, type WorkOptions, withFleetLock } from '../../../services/fleet/access.js';
import type { FinishOptions, ResetOptions } from '../../../services/fleet/reset/cold.js';
import { newOperation, prepared } from '../../../services/run/run-plan.js';
import type { NovaContext } from '../context.js';
import type { NovaMember } from '../core/members.js';
import { notStopped, planRebuild } from '../core/plan.js';
import { type ChangeResult, dryChange, executeChange } from './change.js';
import { observeFleet } from './observe.js';
import { loadNovaFleet } from './record.js';
import { assertNovaWaitable } from './wait.js';

/**
 * Resets members by a rebuild with the image that each server has. Name, id, addresses, tags and host stay.
 * @throws BASE_CHANGED if an image was deleted: then nothing is changed
 */
export async function reset(context: NovaContext, options: ResetOptions): Promise<Outcome> {
  const { fleets } = context.ports;
  assertWork(options);
  assertNovaWaitable(options.wait);
  if (options.dryRun === true) {
    await assertNothingUnfinished({ fleets }, options.fleet, () => false);
    return begin(context, options);
  }
  return withFleetLock({ fleets }, options.fleet, async () => {
    await assertNothingUnfinished({ fleets }, options.fleet, () => false);
    return begin(context, options);
  });
}

async function begin(context: NovaContext, options: ResetOptions): Promise<Outcome> {
  const { clock, fleets } = context.ports;
  const began = clock.monotonic();
  const record = await loadNovaFleet(context, options.fleet);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const observed = await observeChosen(context, record, chosen);
  const operation = newOperation(context.ports, 'reset', {
    targets: chosen.map(({ index }) => index),
    wasOn: notStopped(observed),
    start: options.start ?? 'same',
  });
  await assertImages(context, observed);
  const plan = planRebuild(observed, { start: operation.start, wasOn: new Set(operation.wasOn), why: 'reset' });
  if (options.dryRun === true) {
    return dryChange(context, { verb: 'reset', id: operation.id, record, plan, observed, doneAs: () => 'reset', began });
  }
  await fleets.beginOperation(record.name, operation);
  return finishReset(context, operation, new Set(), { ...options, wait: assertNovaWaitable(options.wait), isResumed: false });
}

/** Completes a reset whose intent is written. The fleet is locked. @param done indexes of finished members */
export async function finishReset(
  context: NovaContext,
  operation: Operation,
  done: ReadonlySet<number>,
  options: FinishOptions,
): Promise<Outcome> {
  const { clock, fleets } = context.ports;
  const began = clock.monotonic();
  const { record, observed } = await prepared({ fleets }, options.fleet, options.isResumed, async () => {
    const record = await loadNovaFleet(context, options.fleet);
    const left = record.members.filter(({ index }) => operation.targets.includes(index) && !done.has(index));
    const observed = await observeChosen(context, record, left);
    await assertImages(context, observed);
    return { record, observed };
  });
  const plan = planRebuild(observed, { start: operation.start, wasOn: new Set(operation.wasOn), why: 'reset' });
  const { outcome, isComplete }: ChangeResult = await executeChange(
    context,
    {
      ...{ verb: 'reset', id: operation.id, record, plan, observed, doneAs: () => 'reset' as const, began },
      steps: { journaled: true },
      wait: options.wait,
      timeoutMs: options.timeoutMs,
    },
    options,
  );
  if (isComplete) await fleets.endOperation(record.name);
  return outcome;
}

/** Members with their servers, of some members of a fleet. */
export async function observeChosen(
  context: NovaContext,
  record: FleetRecord,
  chosen: readonly { index: number }[],
  options: Pick<WorkOptions, 'signal'> = {},
): Promise<NovaMember[]> {
  const indexes = new Set(chosen.map(({ index }) => index));
  const { members } = await observeFleet(context, record, options);
  return members.filter(({ index }) => indexes.has(index));
}

/** A rebuild with a deleted image is refused by the cloud, one server after the other. @throws BASE_CHANGED */
export async function assertImages({ cloud, title }: NovaContext, observed: readonly NovaMember[]): Promise<void> {
  const ids = new Set(observed.flatMap(({ server }) => server?.imageId ?? []));
  for (const id of ids) {
    const image = await cloud.images.get(id);
    if (image?.status === 'active') continue;
    const users = observed.filter(({ server }) => server?.imageId === id).map(({ name }) => name);
    throw new CowherdError(
      'BASE_CHANGED',
      `Image ${id} is ${image === undefined ? 'no longer' : `${image.status}, and not usable,`} in ${title}`,
      {
        details: [`used by ${users.slice(0, 5).join(', ')}${users.length > 5 ? ` and ${users.length - 5} more` : ''}`],
        hint: `No server was changed. Move the fleet to another image: cowherd rebase ${users[0]?.replace(/-\d+$/, '') ?? ''} --base NAME`,
      },
    );
  }
}
