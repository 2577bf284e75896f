import { CowherdError } from '../../../core/errors.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { Operation } from '../../../core/fleet/operation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import type { Ports } from '../../../ports/index.js';
import { verifiedWarmBase } from '../../clone/plan.js';
import { waitOf } from '../../guest/readiness.js';
import { startOtherwise } from '../../host/accelerator-fallback.js';
import { byName, dryOutcome, newOperation } from '../../run/run-plan.js';
import { assertNothingUnfinished, assertWork, loadFleet, observeWithMarks, withFleetLock } from '../access.js';
import { verifiedBases } from '../disks/fresh-disks.js';
import { type FinishOptions, finishColdReset, planOf, type ResetOptions } from './cold.js';
import { assertWarmOptions, beginWarmReset, finishWarmReset } from './warm.js';

/** Resets members to their base image by replacing their overlays with fresh ones. The time does not depend on how much a member wrote. Name, UUID and MAC stay; domains are not redefined.
 */
export async function reset(ports: Ports, options: ResetOptions): Promise<Outcome> {
  const { fleet } = options;
  assertWork(options);
  const begin = options.warm === true ? beginWarm : beginCold;
  if (options.dryRun === true) {
    await assertNothingUnfinished(ports, fleet, () => false);
    return begin(ports, options);
  }
  return withFleetLock(ports, fleet, async () => {
    await assertNothingUnfinished(ports, fleet, () => false);
    return startOtherwise(ports, await begin(ports, options), options);
  });
}

/** Clones without a checkpoint return to the memory of their source VM: that is what a reset of clones does anyway. */
async function beginWarm(ports: Ports, options: ResetOptions): Promise<Outcome> {
  assertWarmOptions(options);
  const record = await loadFleet(ports, options.fleet);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const checkpoints = record.spec.warm === undefined ? undefined : await ports.checkpoints.list(record.name);
  if (checkpoints === undefined || chosen.some(({ name }) => checkpoints.has(name))) return beginWarmReset(ports, options);
  if (options.hook !== undefined) {
    throw new CowherdError(
      'BAD_USAGE',
      `Members of ${record.name} are clones without a checkpoint: --warm creates them again, without a hook`,
      {
        hint: `Omit --hook, and run the command afterwards: cowherd exec ${record.name} -- COMMAND`,
      },
    );
  }
  return beginCold(ports, { ...options, start: 'all' });
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
  const wait = await waitOf(ports, record, options.wait);
  const imageOf = await verifiedBases(ports, { ...record, members: chosen });
  await verifiedWarmBase(ports, record);
  if (options.dryRun === true) {
    const { plan } = await planOf(ports, { record, members: chosen, observed, operation, imageOf, signal: options.signal });
    return dryOutcome(ports, { verb: 'reset', id: operation.id, record, plan, before: byName(observed), doneAs: () => 'reset', began });
  }
  await ports.fleets.beginOperation(record.name, operation);
  return finishColdReset(ports, operation, new Set(), { ...options, wait, isResumed: false });
}

/** Completes a reset whose intent is written; also called by "resume". @param done indexes of finished members */
export function finishReset(ports: Ports, operation: Operation, done: ReadonlySet<number>, options: FinishOptions): Promise<Outcome> {
  return (operation.warm === undefined ? finishColdReset : finishWarmReset)(ports, operation, done, options);
}
