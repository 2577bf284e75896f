import { CowherdError } from '../../../core/errors.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { Operation } from '../../../core/fleet/operation.js';
import { mergeOutcomes, type Outcome } from '../../../core/fleet/outcome.js';
import type { MarkedMember } from '../../../core/fleet/plan/member-plan.js';
import { planRebase } from '../../../core/fleet/plan/plan.js';
import { baseOf, type FleetRecord } from '../../../core/fleet/record.js';
import { formatIndexes } from '../../../core/fleet/selection/selection.js';
import { formatWaitFor, isAutoWait, resolveWait, type WaitRequest } from '../../../core/guest/stages.js';
import { type BaseImage, formatBaseRef, isBaseRef } from '../../../core/image/base.js';
import { assertWithin, limits } from '../../../core/limits.js';
import type { Ports } from '../../../ports/index.js';
import { withoutFrozen } from '../../checkpoint/validation.js';
import { assertWaitable } from '../../guest/readiness.js';
import { BatchProgress } from '../../run/batch-progress.js';
import { dryPorts } from '../../run/dry-run/ports.js';
import type { MemberResult } from '../../run/member-executor.js';
import { composeOutcome } from '../../run/outcome.js';
import { byName, dryOutcome, newOperation } from '../../run/run-plan.js';
import {
  assertNothingUnfinished,
  assertSeals,
  assertWork,
  loadFleet,
  observeWithMarks,
  type WorkOptions,
  withFleetLock,
} from '../access.js';
import { recordAsFound } from '../disks/backing-check.js';
import { refuseForeignDisks } from '../disks/foreign-disks.js';
import { verifiedBases } from '../disks/fresh-disks.js';
import { importBase } from '../spawn/input/base-input.js';
import { findOrPull } from '../spawn/input/find-or-pull.js';
import { assertNoneEnlarged } from '../spawn/input/root-size.js';
import { mergePlans, movedTo, moveGroup, movingOf, policyOf, recordOf, settingsOf } from './rebase-group.js';

export interface RebaseOptions extends WorkOptions {
  fleet: string;
  /** A base image of the store, or a file. */
  base: string;
  /** Number of members to move first; the others follow if these become ready. Default 1; 0 for none. */
  canary?: number | undefined;
  /** Number of other members to move at the same time; default 16. */
  batch?: number | undefined;
  /** Keep the guests' changes: overlays of stopped members are rebased in place. */
  keepDrift?: boolean | undefined;
  /** The stage that members must reach, the canaries in particular. */
  wait?: WaitRequest | undefined;
  /** Time limit for each group. */
  timeoutMs?: number | undefined;
  dryRun?: boolean | undefined;
}

const defaultBatch = 16;

/** Moves a fleet to another base image: first some canaries, then the rest in batches. Members are reset onto the image, or keep their drift. If a canary fails, the other members are not changed.
 */
export async function rebase(ports: Ports, options: RebaseOptions): Promise<Outcome> {
  assertWork(options);
  assertWithin({ canary: [options.canary, { ...limits.members, min: 0 }], batch: [options.batch, limits.batch] });
  if (options.dryRun === true) {
    await assertNothingUnfinished(ports, options.fleet, () => false);
    return begin(dryPorts(ports), options);
  }
  return withFleetLock(ports, options.fleet, async () => {
    await assertNothingUnfinished(ports, options.fleet, () => false);
    return begin(ports, options);
  });
}

async function begin(ports: Ports, options: RebaseOptions): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const recorded = await loadFleet(ports, options.fleet);
  if (recorded.spec.warm !== undefined) {
    throw new CowherdError(
      'NOT_SUPPORTED',
      `Cannot rebase fleet ${recorded.name}: its members resume from a memory that belongs to their base image`,
      {
        hint: 'Create a new fleet from a VM that runs on the newer disk: cowherd spawn NEW --from-running DOMAIN',
      },
    );
  }
  if (!isAutoWait(options.wait)) assertWaitable(recorded.spec, options.wait);
  const target = await targetOf(ports, options);
  const wait = resolveWait(options.wait, formatBaseRef(target), target.defaults?.wait);
  assertWaitable(recorded.spec, wait);
  const record = movedTo(recorded, target);
  // Also members whose overlay was moved but whose domain was not redefined yet.
  const observed = (await observeWithMarks(ports, recorded)).filter(
    (member) =>
      baseOf(recorded, member).digest !== target.digest || (member.mark !== undefined && member.mark.baseDigest !== target.digest),
  );
  const movers = observed.map(({ index }) => index);
  const canaries = movers.slice(0, options.canary ?? 1);
  const operation = newOperation(ports, 'rebase', {
    targets: movers,
    wasOn: observed.filter((member) => isOn(member.domain)).map((member) => member.index),
    record,
    rebase: {
      canaries,
      batch: options.batch ?? defaultBatch,
      keepDrift: options.keepDrift === true,
      ...(wait === undefined ? {} : { wait: formatWaitFor(wait) }),
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    },
  });
  if (movers.length === 0) return shown(ports, operation, record, observed, began);
  if (options.dryRun === true) {
    await verifiedBases(ports, recorded);
    return shown(ports, operation, record, observed, began);
  }
  // From here on the new base image counts as in use.
  await ports.bases.locked(async () => {
    const imageOf = await verifiedBases(ports, recorded, [record.base]);
    if (options.keepDrift !== true) await assertNoneEnlarged(ports, { ...recorded, members: movingOf(recorded, movers) }, imageOf);
    await ports.fleets.beginOperation(recorded.name, operation);
  }, options);
  return finishRebase(ports, operation, new Set(), { ...options, isResumed: false });
}

async function targetOf(ports: Ports, options: RebaseOptions): Promise<BaseImage> {
  const base = isBaseRef(options.base)
    ? (await findOrPull(ports, options.base, options)).base
    : (await importBase(ports, options.base, { ...options, spec: {} })).base;
  await assertSeals(ports, base);
  return base;
}

/** The plan as a dry-run outcome, or a note that there is nothing to do. */
async function shown(
  ports: Ports,
  operation: Operation,
  record: FleetRecord,
  observed: readonly MarkedMember[],
  began: number,
): Promise<Outcome> {
  const { canaries, keepDrift } = settingsOf(operation);
  const policy = { ...policyOf(record, observed, operation), keepDrift };
  const [first, others] = [true, false].map((isCanary) => observed.filter(({ index }) => canaries.includes(index) === isCanary));
  const planned = mergePlans(planRebase(first ?? [], record.id, { ...policy, start: 'all' }), planRebase(others ?? [], record.id, policy));
  const wanted = await refuseForeignDisks(ports, record, observed, planned);
  const plan = keepDrift ? await withoutFrozen(ports, record, wanted) : wanted;
  const before = byName(observed);
  const outcome = dryOutcome(ports, { verb: 'rebase', id: operation.id, record, plan, before, doneAs: () => 'rebased', began });
  if (observed.length === 0) {
    const { plan: _, ...nothing } = outcome;
    return { ...nothing, notes: [`every member is already based on ${formatBaseRef(record.base)}`] };
  }
  return canaries.length === 0 ? outcome : { ...outcome, notes: [`members ${formatIndexes(canaries)} go first, as canaries`] };
}

/** Completes a rebase whose intent is written. The fleet is locked. */
export async function finishRebase(
  ports: Ports,
  operation: Operation,
  done: ReadonlySet<number>,
  options: WorkOptions & { fleet: string; isResumed: boolean },
): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const { fleet } = options;
  const { canaries, batch } = settingsOf(operation);
  const target = recordOf(operation).base;
  // Read the record before any change: without it, the base image of each member would be unknown afterwards.
  let current = await loadFleet(ports, fleet);
  const left = operation.targets.filter((index) => !done.has(index));
  const outcomes: Outcome[] = [];
  const total = (notes: readonly string[] = []): Outcome => {
    const merged = mergeOutcomes(outcomes, Math.round(ports.clock.monotonic() - began) / 1000);
    return { ...merged, notes: [...merged.notes, ...notes] };
  };

  // The canaries are known to be good once another member was moved. Until then, wait for finished canaries again.
  const areCanariesGood = [...done].some((index) => !canaries.includes(index));
  const first = areCanariesGood ? left.filter((index) => canaries.includes(index)) : canaries;
  const rest = left.filter((index) => !canaries.includes(index));
  const groups = [first, ...batches(rest, batch)].filter((group) => group.length > 0);
  // The interrupted run had moved all members: only the record and the outcome are left.
  if (groups.length === 0) {
    await ports.fleets.write(await recordAsFound(ports, current, [target], done));
    outcomes.push(await leftOver(ports, operation, operation.targets, 'unchanged'));
  }
  const progress = new BatchProgress(options.onProgress, left.length);
  for (const [position, group] of groups.entries()) {
    const isCanary = group === first;
    progress.next();
    const batchOptions = { ...options, onProgress: progress.listener, done, isCanary, isFirst: position === 0 && done.size === 0 };
    const outcome = await moveGroup(ports, operation, group, batchOptions);
    outcomes.push(outcome);
    // From here on the record has the actual base image of each member, including those that failed.
    current = await recordAsFound(ports, current, [target], new Set([...done, ...group]));
    await ports.fleets.write(current);
    const untouched = groups.slice(position + 1).flat();
    if (outcome.operation.interrupted || outcome.counts.cancelled !== undefined) {
      outcomes.push(await leftOver(ports, operation, untouched, 'cancelled'));
      return total();
    }
    const failed = outcome.members.filter((member) => member.outcome === 'failed').length;
    if (untouched.length > 0 && failed > 0 && (isCanary || failed === group.length)) {
      outcomes.push(await leftOver(ports, operation, untouched, 'unchanged'));
      await ports.fleets.endOperation(fleet);
      const what = isCanary ? 'a canary failed' : 'a whole batch failed';
      return total([
        `${what}: members ${formatIndexes(untouched)} were not changed. Fix ${formatBaseRef(target)} or its guests and rebase again, or return to the old image with --base`,
      ]);
    }
  }
  await ports.fleets.endOperation(fleet);
  return total();
}

/** The part of the outcome for members that were not changed. */
async function leftOver(ports: Ports, operation: Operation, indexes: readonly number[], as: 'cancelled' | 'unchanged'): Promise<Outcome> {
  const record = recordOf(operation);
  const members = record.members.filter((member) => indexes.includes(member.index));
  const observed = await observeWithMarks(ports, { ...record, members });
  const results: MemberResult[] = as === 'cancelled' ? observed.map((member) => ({ member, kind: 'cancelled' })) : [];
  return composeOutcome({
    verb: 'rebase',
    id: operation.id,
    record,
    plan: { members: [], unchanged: as === 'unchanged' ? observed.map(({ name }) => name) : [], refused: [] },
    run: { results, stages: [] },
    before: byName(observed),
    seconds: 0,
    interrupted: as === 'cancelled',
    doneAs: () => 'unchanged',
  });
}

function batches<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, position) => items.slice(position * size, (position + 1) * size));
}
