import type { Operation } from '../../../core/fleet/operation.js';
import { mergeOutcomes, type Outcome } from '../../../core/fleet/outcome.js';
import { baseOf } from '../../../core/fleet/record.js';
import { formatIndexes } from '../../../core/fleet/selection/selection.js';
import { formatWaitFor, parseWaitFor } from '../../../core/guest/stages.js';
import { formatBaseRef } from '../../../core/image/base.js';
import { assertWithin, limits } from '../../../core/limits.js';
import { assertNothingUnfinished, assertWork, type WorkOptions, withFleetLock } from '../../../services/fleet/access.js';
import type { RebaseOptions } from '../../../services/fleet/rebase/rebase.js';
import { movedTo, recordOf, settingsOf } from '../../../services/fleet/rebase/rebase-group.js';
import { BatchProgress } from '../../../services/run/batch-progress.js';
import { newOperation } from '../../../services/run/run-plan.js';
import type { NovaContext } from '../context.js';
import type { NovaMember } from '../core/members.js';
import { notStopped, planRebuild } from '../core/plan.js';
import { dryChange, executeChange } from './change.js';
import { chooseImage } from './choose-image.js';
import { observeFleet } from './observe.js';
import { asNova, loadNovaFleet, type NovaRecord } from './record.js';
import { observeChosen } from './reset.js';
import { assertNovaWaitable } from './wait.js';

const defaultBatch = 16;

/** Moves a fleet to another image by rebuilds: first some canaries, then the rest in batches. */
export async function rebase(context: NovaContext, options: RebaseOptions): Promise<Outcome> {
  const { fleets } = context.ports;
  assertWork(options);
  assertWithin({ canary: [options.canary, { ...limits.members, min: 0 }], batch: [options.batch, limits.batch] });
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

async function begin(context: NovaContext, options: RebaseOptions): Promise<Outcome> {
  const { clock, fleets } = context.ports;
  const began = clock.monotonic();
  const wait = assertNovaWaitable(options.wait);
  const recorded = await loadNovaFleet(context, options.fleet);
  const { base, id, notes } = await chooseImage(context, options.base, { ...options, isPreview: options.dryRun === true });
  const images = { ...recorded.placement.images, [base.digest]: id };
  const record = { ...movedTo(recorded, base), placement: { ...recorded.placement, images } };
  const observed = (await observeFleet(context, recorded, options)).members.filter(({ server }) => server?.imageId !== id);
  const movers = observed.map(({ index }) => index);
  const canaries = movers.slice(0, options.canary ?? 1);
  const operation = newOperation(context.ports, 'rebase', {
    targets: movers,
    wasOn: notStopped(observed),
    record,
    rebase: {
      ...{ canaries, batch: options.batch ?? defaultBatch, keepDrift: false },
      ...(wait === undefined ? {} : { wait: formatWaitFor(wait) }),
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    },
  });
  if (movers.length === 0 || options.dryRun === true) return shown(context, operation, record, observed, { began, notes });
  await fleets.beginOperation(recorded.name, operation);
  return finishRebase(context, operation, new Set(), options);
}

function shown(
  context: NovaContext,
  operation: Operation,
  record: NovaRecord,
  observed: readonly NovaMember[],
  { began, notes }: { began: number; notes: string[] },
): Outcome {
  const { canaries } = settingsOf(operation);
  const isCanary = ({ index }: NovaMember): boolean => canaries.includes(index);
  const parts = [true, false].map((wanted) =>
    planGroup(
      operation,
      observed.filter((member) => isCanary(member) === wanted),
      wanted,
    ),
  );
  const plan = {
    members: parts.flatMap(({ members }) => members),
    unchanged: parts.flatMap(({ unchanged }) => unchanged),
    refused: parts.flatMap(({ refused }) => refused),
  };
  const change = { verb: 'rebase', id: operation.id, record, plan, observed, doneAs: () => 'rebased' as const, began };
  if (observed.length > 0)
    return dryChange(context, {
      ...change,
      notes: canaries.length === 0 ? notes : [...notes, `members ${formatIndexes(canaries)} go first, as canaries`],
    });
  const { plan: _, ...nothing } = dryChange(context, {
    ...change,
    notes: [`every member is already based on ${formatBaseRef(record.base)}`],
  });
  return nothing;
}

function planGroup({ wasOn }: Operation, members: readonly NovaMember[], isCanary: boolean) {
  return planRebuild(members, { start: isCanary ? 'all' : 'same', wasOn: new Set(wasOn), why: 'rebase' });
}

/** Completes a rebase whose intent is written. The fleet is locked. */
export async function finishRebase(
  context: NovaContext,
  operation: Operation,
  done: ReadonlySet<number>,
  options: WorkOptions & { fleet: string },
): Promise<Outcome> {
  const { clock, fleets } = context.ports;
  const began = clock.monotonic();
  const { canaries, batch } = settingsOf(operation);
  const target = asNova(recordOf(operation), context.uri);
  const left = operation.targets.filter((index) => !done.has(index));
  // The canaries are known to be good once another member was moved. Until then, wait for finished canaries again.
  const areCanariesGood = [...done].some((index) => !canaries.includes(index));
  const first = areCanariesGood ? left.filter((index) => canaries.includes(index)) : canaries;
  const rest = left.filter((index) => !canaries.includes(index));
  const groups = [first, ...batches(rest, batch)].filter((group) => group.length > 0);
  const progress = new BatchProgress(options.onProgress, left.length);
  const outcomes: Outcome[] = [];
  for (const [position, group] of groups.entries()) {
    const isCanary = group === first;
    progress.next();
    const { outcome, isComplete } = await moveGroup(
      context,
      operation,
      target,
      { group, done, isCanary },
      { ...options, onProgress: progress.listener },
    );
    outcomes.push(outcome);
    await fleets.write(await recordAsFound(context, options.fleet, target));
    const untouched = groups.slice(position + 1).flat();
    if (!isComplete || outcome.operation.interrupted)
      return total(context, [...outcomes, await leftOver(context, operation, target, untouched, true)], began);
    const failed = outcome.members.filter((member) => member.outcome === 'failed').length;
    if (untouched.length > 0 && failed > 0 && (isCanary || failed === group.length)) {
      await fleets.endOperation(options.fleet);
      const what = isCanary ? 'a canary failed' : 'a whole batch failed';
      const note = `${what}: members ${formatIndexes(untouched)} were not changed. Fix ${formatBaseRef(target.base)} or its guests and rebase again, or return to the old image with --base`;
      return total(context, [...outcomes, await leftOver(context, operation, target, untouched, false)], began, [note]);
    }
  }
  if (groups.length === 0) {
    await fleets.write(await recordAsFound(context, options.fleet, target));
    outcomes.push(await leftOver(context, operation, target, operation.targets, false));
  }
  await fleets.endOperation(options.fleet);
  return total(context, outcomes, began);
}

async function moveGroup(
  context: NovaContext,
  operation: Operation,
  target: NovaRecord,
  { group, done, isCanary }: { group: readonly number[]; done: ReadonlySet<number>; isCanary: boolean },
  options: WorkOptions,
) {
  const began = context.ports.clock.monotonic();
  const imageId = target.placement.images[target.base.digest] ?? '';
  const { wait, timeoutMs } = settingsOf(operation);
  const members = target.members.filter(({ index }) => group.includes(index));
  const observed = await observeChosen(context, target, members);
  const [moved, others] = [observed.filter(({ index }) => done.has(index)), observed.filter(({ index }) => !done.has(index))];
  const plan = planGroup(operation, others, isCanary);
  return executeChange(
    context,
    {
      ...{ verb: 'rebase', id: operation.id, record: target, observed, doneAs: () => 'rebased' as const, began, timeoutMs },
      plan: { ...plan, unchanged: [...plan.unchanged, ...moved.map(({ name }) => name)] },
      steps: { journaled: true, imageId },
      wait: wait === undefined ? undefined : parseWaitFor(wait),
    },
    options,
  );
}

/** The record with the base image of each member as its server has it, so that an interrupted or failed rebase is not lost. */
export async function recordAsFound(context: NovaContext, fleet: string, target: NovaRecord): Promise<NovaRecord> {
  const recorded = await loadNovaFleet(context, fleet);
  const { members } = await observeFleet(context, recorded);
  const known = new Map(
    [recorded.base, ...recorded.members.flatMap(({ base }) => base ?? []), target.base].map((base) => [base.digest, base]),
  );
  const images = { ...recorded.placement.images, ...target.placement.images };
  const byImage = new Map(Object.entries(images).map(([digest, id]) => [id, known.get(digest)]));
  const found = new Map(members.map(({ index, server }) => [index, byImage.get(server?.imageId ?? '')]));
  const isMoved = recorded.members.every((member) => (found.get(member.index) ?? baseOf(recorded, member)).digest === target.base.digest);
  const base = isMoved ? target.base : recorded.base;
  const used = recorded.members.map(({ base: was, ...member }) => {
    const now = found.get(member.index) ?? was ?? recorded.base;
    return now.digest === base.digest ? member : { ...member, base: now };
  });
  const digests = new Set([base.digest, ...used.flatMap((member) => ('base' in member ? member.base.digest : []))]);
  return {
    ...recorded,
    base,
    members: used,
    placement: { ...recorded.placement, images: Object.fromEntries(Object.entries(images).filter(([digest]) => digests.has(digest))) },
  };
}

/** The part of the outcome for members that were not changed. */
async function leftOver(
  context: NovaContext,
  operation: Operation,
  target: NovaRecord,
  indexes: readonly number[],
  isCancelled: boolean,
): Promise<Outcome> {
  const observed = await observeChosen(
    context,
    target,
    target.members.filter(({ index }) => indexes.includes(index)),
  );
  const plan = { members: [], unchanged: observed.map(({ name }) => name), refused: [] };
  const change = { verb: 'rebase', id: operation.id, record: target, plan, observed, doneAs: () => 'unchanged' as const, began: 0 };
  const { plan: _, ...outcome } = dryChange(context, change);
  if (!isCancelled) return outcome;
  const members = outcome.members.map((member) => ({ ...member, outcome: 'cancelled' as const }));
  return {
    ...outcome,
    members,
    counts: { ...outcome.counts, unchanged: 0, cancelled: members.length },
    operation: { ...outcome.operation, interrupted: true },
  };
}

function total({ ports }: NovaContext, outcomes: readonly Outcome[], began: number, notes: readonly string[] = []): Outcome {
  const merged = mergeOutcomes(outcomes, Math.round(ports.clock.monotonic() - began) / 1000);
  return { ...merged, notes: [...merged.notes, ...notes] };
}

function batches<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, position) => items.slice(position * size, (position + 1) * size));
}
