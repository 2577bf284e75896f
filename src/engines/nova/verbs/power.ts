import type { Outcome } from '../../../core/fleet/outcome.js';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import { assertNothingUnfinished, assertWork, withFleetLock } from '../../../services/fleet/access.js';
import type { PowerOptions } from '../../../services/fleet/power.js';
import { remember } from '../../../services/run/remember.js';
import type { NovaContext } from '../context.js';
import { planPower } from '../core/plan.js';
import { dryChange, executeChange } from './change.js';
import { loadNovaFleet } from './record.js';
import { observeChosen } from './reset.js';
import { assertNovaWaitable } from './wait.js';

/** Starts stopped members, or shuts running ones down. The cloud forces off a guest that does not shut down in its time. */
export async function power(context: NovaContext, verb: 'start' | 'stop', options: PowerOptions): Promise<Outcome> {
  const { fleets } = context.ports;
  assertWork(options);
  assertNovaWaitable(options.wait);
  if (options.dryRun === true) return begin(context, verb, options);
  return withFleetLock({ fleets }, options.fleet, async () => begin(context, verb, options));
}

async function begin(context: NovaContext, verb: 'start' | 'stop', options: PowerOptions): Promise<Outcome> {
  const { clock, fleets } = context.ports;
  const began = clock.monotonic();
  const record = await loadNovaFleet(context, options.fleet);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  if (verb === 'start') {
    await assertNothingUnfinished({ fleets }, record.name, ({ operation, done }) =>
      chosen.every(({ index }) => !operation.targets.includes(index) || (operation.verb !== 'teardown' && done.has(index))),
    );
  }
  const observed = await observeChosen(context, record, chosen, options);
  const plan = planPower(observed, verb);
  const doneAs = () => (verb === 'start' ? ('started' as const) : ('stopped' as const));
  const change = { verb, id: '', record, plan, observed, doneAs, began };
  if (options.dryRun === true) return dryChange(context, change);
  const { outcome } = await executeChange(
    context,
    {
      ...change,
      steps: { journaled: false },
      wait: verb === 'start' ? assertNovaWaitable(options.wait) : undefined,
      timeoutMs: options.timeoutMs,
    },
    options,
  );
  const members = outcome.members.map((one) => ({ ...one, isDone: ['started', 'stopped'].includes(one.became ?? one.outcome) }));
  await remember({ fleets, clock }, record.name, { verb, seconds: outcome.operation.seconds, members });
  return outcome;
}
