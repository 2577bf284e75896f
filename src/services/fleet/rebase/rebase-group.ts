import { CowherdError } from '../../../core/errors.js';
import type { Operation } from '../../../core/fleet/operation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { MarkedMember, Plan } from '../../../core/fleet/plan/member-plan.js';
import { planPower, planRebase } from '../../../core/fleet/plan/plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { parseWaitFor } from '../../../core/guest/stages.js';
import type { BaseImage } from '../../../core/image/base.js';
import type { Ports } from '../../../ports/index.js';
import { withoutFrozen } from '../../checkpoint/validation.js';
import { beginWait } from '../../guest/readiness.js';
import { assertReachable, baseTargets, fleetTargets } from '../../preflight/reachability.js';
import { byName, executePlan, offNames, prepared } from '../../run/run-plan.js';
import { stagePlanned } from '../../run/steps.js';
import { observeWithMarks, type WorkOptions } from '../access.js';
import { refuseForeignDisks } from '../disks/foreign-disks.js';
import { freshDisks, memberDisksOf, nvramOf, verifiedBases } from '../disks/fresh-disks.js';
import { definitionsOf, freshSeeds, namesOf } from '../reset/cold.js';
import { withoutAdditions } from '../spawn/additions.js';

/** The record with all members based on one image. */
export function movedTo(record: FleetRecord, { name, digest }: Pick<BaseImage, 'name' | 'digest'>): FleetRecord {
  return { ...record, base: { name, digest }, members: record.members.map(({ base: _, ...member }) => member) };
}

export function movingOf({ members }: FleetRecord, movers: readonly number[]): FleetRecord['members'] {
  return members.filter(({ index }) => movers.includes(index));
}

interface GroupOptions extends WorkOptions {
  fleet: string;
  isResumed: boolean;
  isCanary: boolean;
  /** Members that an interrupted run already moved. */
  done: ReadonlySet<number>;
  /** Whether nothing was changed before this group. */
  isFirst: boolean;
}

export async function moveGroup(ports: Ports, operation: Operation, group: readonly number[], options: GroupOptions): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const record = recordOf(operation);
  const { keepDrift, wait, timeoutMs } = settingsOf(operation);
  const members = record.members.filter((member) => group.includes(member.index));
  const { observed, plan, context, watch } = await prepared(ports, record.name, options.isResumed || !options.isFirst, async () => {
    const imageOf = await verifiedBases(ports, record);
    await assertReachable(ports, [...fleetTargets(ports, record.name), ...baseTargets(record, imageOf)]);
    const observed = await observeWithMarks(ports, { ...record, members });
    const policy = { ...policyOf(record, observed, operation), keepDrift, ...(options.isCanary ? { start: 'all' as const } : {}) };
    const [moved, others] = [
      observed.filter(({ index }) => options.done.has(index)),
      observed.filter(({ index }) => !options.done.has(index)),
    ];
    const wanted = await refuseForeignDisks(ports, record, others, planRebase(others, record.id, policy));
    const joint = mergePlans(keepDrift ? await withoutFrozen(ports, record, wanted) : wanted, planPower(moved, record.id, 'start'));
    const rendered = await definitionsOf(ports, record, members, imageOf, options.signal);
    const { plan, definitions } = await withoutAdditions(ports, record, observed, joint, rendered, undefined, options.signal);
    const disks = memberDisksOf(record, members);
    if (!keepDrift) {
      const fresh = await freshDisks(ports, record, members, imageOf);
      await stagePlanned(ports, record, plan, { disks, fresh }, await freshSeeds(ports, record, members, operation, options.signal));
    }
    const watch = await beginWait(ports, record, wait === undefined ? undefined : parseWaitFor(wait));
    return { observed, plan, context: { definitions, disks, ...nvramOf(record), rebaseTo: imageOf(record.base) }, watch };
  });
  const before = byName(observed);
  const { outcome } = await executePlan(
    ports,
    {
      verb: 'rebase',
      id: operation.id,
      record,
      plan,
      before,
      doneAs: () => 'rebased',
      began,
      context: { ...context, off: offNames(before), journaled: true },
      watch,
    },
    { ...options, timeoutMs },
  );
  return outcome;
}

export function mergePlans(one: Plan, other: Plan): Plan {
  return {
    members: [...one.members, ...other.members],
    unchanged: [...one.unchanged, ...other.unchanged],
    refused: [...one.refused, ...other.refused],
  };
}

export function policyOf({ spec }: FleetRecord, observed: readonly MarkedMember[], { wasOn }: Operation) {
  return { start: 'same' as const, wasOn: namesOf(observed, wasOn), withSeeds: spec.seed === 'nocloud', redefines: spec.tpm };
}

export function settingsOf(operation: Operation): NonNullable<Operation['rebase']> {
  if (operation.rebase === undefined)
    throw new CowherdError('STATE_DAMAGED', 'operation.json of a rebase has no settings', { hint: 'Remove it and rebase again.' });
  return operation.rebase;
}

export function recordOf(operation: Operation): FleetRecord {
  if (operation.record === undefined)
    throw new CowherdError('STATE_DAMAGED', 'operation.json of a rebase has no target', { hint: 'Remove it and rebase again.' });
  return operation.record;
}
