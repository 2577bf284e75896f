import { CowherdError } from '../../../core/errors.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import { assertName } from '../../../core/names.js';
import { assertWork, withFleetLock } from '../../../services/fleet/access.js';
import type { ResumeOptions } from '../../../services/fleet/resume.js';
import { emptyOutcome } from '../../../services/run/run-plan.js';
import type { NovaContext } from '../context.js';
import { finishRebase } from './rebase.js';
import { asNova, loadNovaFleet, ofThisProject } from './record.js';
import { finishReset } from './reset.js';
import { spawn } from './spawn.js';
import { finishTeardown } from './teardown.js';

/** Completes an operation that was interrupted. */
export async function resume(context: NovaContext, options: ResumeOptions): Promise<Outcome> {
  const { fleets } = context.ports;
  const { fleet } = options;
  assertWork(options);
  assertName('fleet', fleet);
  const operation = (await fleets.unfinished(fleet))?.operation;
  if (operation?.verb === 'spawn') {
    // Spawn converges; its intent contains the target record.
    return spawn(context, { ...options, start: operation.start !== 'none' });
  }
  return withFleetLock({ fleets }, fleet, async () => {
    const current = await fleets.unfinished(fleet);
    if (current === undefined) {
      // Clean up after a run that was killed at its very end.
      await fleets.endOperation(fleet);
      return nothingToResume(context, fleet);
    }
    const { operation: found, done } = current;
    // In another project, it would find no servers, and remove the record.
    if (found.record !== undefined) await ofThisProject(context, asNova(found.record, context.uri));
    const again = { ...options, isResumed: true };
    if (found.verb === 'reset') return finishReset(context, found, done, again);
    if (found.verb === 'rebase') return finishRebase(context, found, done, again);
    if (found.verb === 'teardown') return finishTeardown(context, found, done, again);
    throw new CowherdError('LOCKED', `Another run of cowherd changed fleet ${fleet} meanwhile`, {
      hint: `See its state: cowherd status ${fleet}`,
    });
  });
}

async function nothingToResume(context: NovaContext, fleet: string): Promise<Outcome> {
  const began = context.ports.clock.monotonic();
  const { base } = await loadNovaFleet(context, fleet);
  return emptyOutcome(context.ports, { verb: 'resume', fleet, base, began, notes: ['nothing to resume'] });
}
