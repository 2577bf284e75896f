import { isOn } from '../../../core/fleet/observation.js';
import type { Operation } from '../../../core/fleet/operation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import type { Ports } from '../../../ports/index.js';
import { verifiedWarmBase } from '../../clone/plan.js';
import { assertWaitable } from '../../guest/readiness.js';
import { startOtherwise } from '../../host/accelerator-fallback.js';
import { byName, dryOutcome, newOperation } from '../../run/run-plan.js';
import { assertNothingUnfinished, assertWork, loadFleet, observeWithMarks, withFleetLock } from '../access.js';
import { verifiedBases } from '../disks/fresh-disks.js';
import { type FinishOptions, finishColdReset, planOf, type ResetOptions } from './cold.js';
import { beginWarmReset, finishWarmReset } from './warm.js';

/** Resets members to their base image by replacing their overlays with fresh ones. The time does not depend on how much a member wrote. Name, UUID and MAC stay; domains are not redefined.
 */
export async function reset(ports: Ports, options: ResetOptions): Promise<Outcome> {
  const { fleet } = options;
  assertWork(options);
  const begin = options.warm === true ? beginWarmReset : beginCold;
  if (options.dryRun === true) {
    await assertNothingUnfinished(ports, fleet, () => false);
    return begin(ports, options);
  }
  return withFleetLock(ports, fleet, async () => {
    await assertNothingUnfinished(ports, fleet, () => false);
    return startOtherwise(ports, await begin(ports, options), options);
  });
}

async function beginCold(ports: Ports, options: ResetOptions): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const record = await loadFleet(ports, options.fleet);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const observed = await observeWithMarks(ports, { ...record, members: chosen });
  const operation = newOperation(ports, 'reset', {
    targets: chosen.map((member) => member.index),
    wasOn: observed.filter((member) => isOn(member.domain)).map((member) => member.index),
    start: options.start ?? 'same',
    keepInstance: options.keepInstance === true,
  });
  assertWaitable(record.spec, options.wait);
  const imageOf = await verifiedBases(ports, { ...record, members: chosen });
  await verifiedWarmBase(ports, record);
  if (options.dryRun === true) {
    const { plan } = await planOf(ports, { record, members: chosen, observed, operation, imageOf, signal: options.signal });
    return dryOutcome(ports, { verb: 'reset', id: operation.id, record, plan, before: byName(observed), doneAs: () => 'reset', began });
  }
  await ports.fleets.beginOperation(record.name, operation);
  return finishColdReset(ports, operation, new Set(), { ...options, isResumed: false });
}

/** Completes a reset whose intent is written; also called by "resume". @param done indexes of finished members */
export function finishReset(ports: Ports, operation: Operation, done: ReadonlySet<number>, options: FinishOptions): Promise<Outcome> {
  return (operation.warm === undefined ? finishColdReset : finishWarmReset)(ports, operation, done, options);
}
