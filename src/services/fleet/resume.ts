import { CowherdError } from '../../core/errors.js';
import type { Outcome } from '../../core/fleet/outcome.js';
import { parseWaitFor } from '../../core/guest/stages.js';
import { assertName } from '../../core/names.js';
import type { Freeze, Ports } from '../../ports/index.js';
import { finishCheckpoint } from '../checkpoint/take.js';
import { startOtherwise } from '../host/accelerator-fallback.js';
import { emptyOutcome } from '../run/run-plan.js';
import { assertWork, loadFleet, type WorkOptions, withFleetLock } from './access.js';
import { finishRebase } from './rebase.js';
import { finishReset } from './reset/reset.js';
import { type SpawnOptions, spawn } from './spawn/spawn.js';
import { finishTeardown } from './teardown.js';

export interface ResumeOptions extends WorkOptions {
  fleet: string;
  force?: boolean | undefined;
}

/**
 * Finishes the operation of a fleet that was interrupted, by Ctrl-C or a crash.
 * @returns where nothing is unfinished, an outcome of the verb `resume` without members
 * @throws FLEET_NOT_FOUND
 */
export async function resume(ports: Ports, options: ResumeOptions): Promise<Outcome> {
  const { fleet } = options;
  assertWork(options);
  assertName('fleet', fleet);
  const unfinished = await ports.fleets.unfinished(fleet);
  if (unfinished?.operation.verb === 'spawn') {
    // Spawn converges by itself; its intent holds what the fleet is to be.
    const { start, wasOn } = unfinished.operation;
    return spawn(ports, { ...options, ...(start === 'same' ? { redefine: { starting: wasOn } } : { start: start !== 'none' }) });
  }
  const freeze = unfinished === undefined ? await ports.memory.readFreeze(fleet) : undefined;
  // It was killed before its own intent was written: the golden VM goes on, and the fleet is made.
  if (freeze !== undefined) return spawn(ports, { ...options, ...askedOf(freeze) });
  return withFleetLock(ports, fleet, async () => {
    const current = await ports.fleets.unfinished(fleet);
    if (current === undefined) {
      // What a run that was killed at its very end has left.
      await ports.fleets.endOperation(fleet);
      return nothingToResume(ports, fleet);
    }
    const { operation, done } = current;
    if (operation.verb === 'reset')
      return startOtherwise(ports, await finishReset(ports, operation, done, { ...options, isResumed: true }), options);
    if (operation.verb === 'checkpoint') return finishCheckpoint(ports, operation, done, { ...options, isResumed: true });
    if (operation.verb === 'rebase') return finishRebase(ports, operation, done, { ...options, isResumed: true });
    if (operation.verb === 'teardown') return finishTeardown(ports, operation, done, { ...options, isResumed: true });
    throw new CowherdError('LOCKED', `Another run of cowherd worked on fleet ${fleet} meanwhile`, {
      hint: `Look again: cowherd status ${fleet}`,
    });
  });
}

async function nothingToResume(ports: Ports, fleet: string): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const { base } = await loadFleet(ports, fleet);
  return emptyOutcome(ports, { verb: 'resume', fleet, base, began, notes: ['nothing was unfinished'] });
}

/** What the spawn of a freeze was asked for. */
function askedOf({ uuid, count, keepFrozen, start, wait, timeoutMs, concurrency, bootConcurrency }: Freeze): Partial<SpawnOptions> {
  return {
    // Its name may be another by now.
    fromRunning: uuid,
    ...{ count, keepFrozen, start, timeoutMs },
    ...(wait === undefined ? {} : { wait: parseWaitFor(wait) }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(bootConcurrency === undefined ? {} : { bootConcurrency }),
  };
}
