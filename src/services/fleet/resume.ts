import { CowherdError } from '../../core/errors.js';
import type { Outcome } from '../../core/fleet/outcome.js';
import { parseWaitFor } from '../../core/guest/stages.js';
import { assertName } from '../../core/names.js';
import type { Freeze, Ports } from '../../ports/index.js';
import { finishCheckpoint } from '../checkpoint/take.js';
import { removeBooted } from '../clone/boot-once.js';
import { startOtherwise } from '../host/accelerator-fallback.js';
import { emptyOutcome } from '../run/run-plan.js';
import { assertWork, loadFleet, type WorkOptions, withFleetLock } from './access.js';
import { finishRebase } from './rebase/rebase.js';
import { finishReset } from './reset/reset.js';
import type { SpawnOptions } from './spawn/input/options.js';
import { spawn } from './spawn/spawn.js';
import { finishTeardown } from './teardown/teardown.js';

export interface ResumeOptions extends WorkOptions {
  fleet: string;
  force?: boolean | undefined;
}

/** Completes an operation that was interrupted by Ctrl-C or a crash. @returns an outcome of the verb `resume` without members if nothing is unfinished
 * @throws FLEET_NOT_FOUND
 */
export async function resume(ports: Ports, options: ResumeOptions): Promise<Outcome> {
  const { fleet } = options;
  assertWork(options);
  assertName('fleet', fleet);
  const unfinished = await ports.fleets.unfinished(fleet);
  if (unfinished?.operation.verb === 'spawn') {
    // Spawn converges; its intent contains the target record.
    const { start, wasOn } = unfinished.operation;
    return resumeSpawn(ports, { ...options, ...(start === 'same' ? { redefine: { starting: wasOn } } : { start: start !== 'none' }) });
  }
  const freeze = unfinished === undefined ? await ports.memory.readFreeze(fleet) : undefined;
  // The spawn was killed before it wrote its intent: resume the source VM and create the fleet.
  if (freeze !== undefined) return resumeSpawn(ports, { ...options, ...spawnOptionsOf(freeze) });
  return withFleetLock(ports, fleet, async () => {
    const current = await ports.fleets.unfinished(fleet);
    if (current === undefined) {
      // Clean up after a run that was killed at its very end.
      await ports.fleets.endOperation(fleet);
      return nothingToResume(ports, fleet);
    }
    const { operation, done } = current;
    if (operation.verb === 'reset')
      return startOtherwise(ports, await finishReset(ports, operation, done, { ...options, isResumed: true }), options);
    if (operation.verb === 'checkpoint') return finishCheckpoint(ports, operation, done, { ...options, isResumed: true });
    if (operation.verb === 'rebase') return finishRebase(ports, operation, done, { ...options, isResumed: true });
    if (operation.verb === 'teardown') return finishTeardown(ports, operation, done, { ...options, isResumed: true });
    throw new CowherdError('LOCKED', `Another run of cowherd changed fleet ${fleet} meanwhile`, {
      hint: `See its state: cowherd status ${fleet}`,
    });
  });
}

/** If it was a spawn with `--boot-once`, also removes the VM that booted. */
async function resumeSpawn(ports: Ports, options: SpawnOptions): Promise<Outcome> {
  return removeBooted(ports, options, await spawn(ports, options));
}

async function nothingToResume(ports: Ports, fleet: string): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const { base } = await loadFleet(ports, fleet);
  return emptyOutcome(ports, { verb: 'resume', fleet, base, began, notes: ['nothing to resume'] });
}

/** The options of the spawn that started a freeze. */
function spawnOptionsOf(freeze: Freeze): Partial<SpawnOptions> {
  const { uuid, count, keepFrozen, shareTpm, start, wait, timeoutMs, concurrency, bootConcurrency, overlay } = freeze;
  return {
    // The domain may have been renamed.
    fromRunning: uuid,
    ...{ count, keepFrozen, shareTpm, start, timeoutMs },
    ...(overlay === undefined ? {} : { spec: { overlay } }),
    ...(wait === undefined ? {} : { wait: parseWaitFor(wait) }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(bootConcurrency === undefined ? {} : { bootConcurrency }),
  };
}
