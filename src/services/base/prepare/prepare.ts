import { CowherdError, reportOf } from '../../../core/errors.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import { parseWaitFor } from '../../../core/guest/stages.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { preparingFleet } from '../../../core/image/recipe.js';
import type { Ports } from '../../../ports/index.js';
import { assertWork } from '../../fleet/access.js';
import { holdingFleet } from '../../fleet/held-lock.js';
import { stop } from '../../fleet/power.js';
import { resolveBase } from '../../fleet/spawn/input/base-input.js';
import { spawn } from '../../fleet/spawn/spawn.js';
import { dryPorts } from '../../run/dry-run/ports.js';
import { isAborted } from '../../run/member-executor.js';
import { describeBase, hygieneWarningsOf } from '../bases.js';
import { promote } from '../promote.js';
import { forgetKey, generalizeGuest, openGuest, runSteps } from './guest.js';
import { afterFailure, assertFree, clearLeftover, removeMachine } from './leftover.js';
import { machineOf, notReady } from './machine.js';
import { defaultPrepareMs, type Preparation, type PrepareOptions } from './options.js';
import { type LoadedRecipe, loadRecipe } from './recipe.js';

/** A guest with many services takes longer than the default of stop. */
const mostShutdownMs = 3 * 60_000;

/**
 * Prepares a base image: boots one VM from another image, runs commands in it, shuts it down, and promotes its disk. The VM is the only
 * member of a fleet of its own, which is removed at the end, also after a failure.
 * @returns with `dryRun`: the outcome of a dry run of spawn
 * @throws SCRIPT_FAILED if a command fails, NOT_READY, GUEST_UNREACHABLE, TOOL_TIMEOUT, NOT_STOPPED, INTERRUPTED; BAD_USAGE
 */
export async function prepareBase(ports: Ports, options: PrepareOptions): Promise<Preparation | Outcome> {
  const fleet = preparingFleet(options.as);
  assertWork(options);
  if (options.wait !== undefined) parseWaitFor(options.wait);
  const recipe = await loadRecipe(ports, options);
  if (options.dryRun === true) {
    await assertFree(ports, fleet, options.as);
    const { base, notes } = await resolveBase(dryPorts(ports), { fleet, base: options.from, dryRun: true }, undefined);
    const planned = await spawn(ports, { ...machineOf(options, base), dryRun: true });
    return { ...planned, notes: [...notes, ...planned.notes, planNote(recipe, options)] };
  }
  return holdingFleet(ports, fleet, async (held) => {
    const { signal, onProgress } = options;
    await assertFree(held, fleet, options.as);
    const { base, notes } = await resolveBase(held, { fleet, base: options.from, signal, onProgress }, undefined);
    const result = await prepareLocked(held, options, recipe, base);
    return { ...result, notes: [...notes, ...result.notes] };
  });
}

function planNote({ steps }: LoadedRecipe, { as, generalize }: PrepareOptions): string {
  const work = [
    ...(steps.length === 0 ? [] : [steps.length === 1 ? 'run a command' : `run ${steps.length} commands`]),
    ...(generalize ? ['be generalized'] : []),
  ];
  return `this is the VM that would ${work.join(' and ')}, and become base image ${as}`;
}

/** As {@link prepareBase}, when the fleet of the VM is locked. @param base the image that it boots from */
export async function prepareLocked(ports: Ports, options: PrepareOptions, recipe: LoadedRecipe, base: BaseImage): Promise<Preparation> {
  const { as, generalize = false } = options;
  const fleet = preparingFleet(as);
  const prepared = { recipe: recipe.digestOn(base), generalized: generalize };
  const complete = await clearLeftover(ports, fleet, as, prepared.recipe);
  if (complete !== undefined) return completedEarlier(ports, complete, prepared);
  let result: Preparation;
  try {
    const notes = await prepareMachine(ports, options, recipe, base);
    const promotion = await promote(ports, { member: [fleet, '1'], as, prepared, signal: options.signal, onProgress: options.onProgress });
    result = { ...promotion, ...prepared, notes: [...notes, ...promotion.notes] };
  } catch (error) {
    throw await afterFailure(ports, fleet, error, options.keep === true);
  }
  try {
    await removeMachine(ports, fleet);
    return result;
  } catch (error) {
    // The image is complete.
    const { message, hint = '' } = reportOf(error);
    return { ...result, notes: [...result.notes, `${message}. ${hint}`] };
  }
}

/** Boots the VM, runs the commands, and shuts it down. @returns notes for the user */
async function prepareMachine(ports: Ports, options: PrepareOptions, recipe: LoadedRecipe, base: BaseImage): Promise<string[]> {
  const { signal, onProgress, timeoutMs = defaultPrepareMs, generalize = false } = options;
  const machine = machineOf(options, base);
  const deadline = ports.clock.monotonic() + timeoutMs;
  onProgress?.({ kind: 'note', text: `Preparing ${options.as} from ${formatBaseRef(base)}` });
  const { members, operation } = await spawn(ports, { ...machine, timeoutMs });
  assertContinues(signal, operation.interrupted);
  const failed = members.find(({ error }) => error !== undefined)?.error;
  if (failed !== undefined) throw notReady(failed);
  const guest = await openGuest(ports, machine.fleet, deadline);
  await runSteps(ports, guest, recipe.steps, options);
  if (generalize) await generalizeGuest(ports, guest, options);
  const notes = generalize ? [] : await forgetKey(ports, guest, options);
  await shutDown(ports, machine.fleet, options);
  return generalize ? generalizeOffline(ports, machine.fleet, guest.member.name, signal) : notes;
}

async function shutDown(ports: Ports, fleet: string, { signal, onProgress, timeoutMs = defaultPrepareMs }: PrepareOptions): Promise<void> {
  onProgress?.({ kind: 'note', text: 'Shutting down' });
  const { members, operation } = await stop(ports, { fleet, timeoutMs: Math.min(timeoutMs, mostShutdownMs), signal });
  assertContinues(signal, operation.interrupted);
  const error = members.find((member) => member.error !== undefined)?.error;
  if (error === undefined) return;
  throw new CowherdError('NOT_STOPPED', error.message, {
    details: error.details ?? [],
    hint: 'The guest ignores the request. Have the commands install the QEMU guest agent or acpid, and start it. To look into the VM, add --keep.',
  });
}

/** What the shutdown itself has written, such as logs. The commands in the guest have already removed what matters. */
async function generalizeOffline(ports: Ports, fleet: string, name: string, signal: AbortSignal | undefined): Promise<string[]> {
  try {
    await ports.generalizeDisk(ports.fleets.files(fleet, name).overlay, signal);
    return [];
  } catch (error) {
    if (!(error instanceof CowherdError) || error.code !== 'TOOL_FAILED') throw error;
    return [`the image was generalized by commands in the guest only: ${error.message}`];
  }
}

async function completedEarlier(
  ports: Ports,
  base: BaseImage,
  prepared: Pick<Preparation, 'recipe' | 'generalized'>,
): Promise<Preparation> {
  return {
    ...(await describeBase(ports, base, new Map())),
    ...prepared,
    how: 'already there',
    generalisation: await hygieneWarningsOf(ports, base),
    notes: ['an earlier run was interrupted after it had created the image'],
  };
}

function assertContinues(signal: AbortSignal | undefined, interrupted: boolean): void {
  if (interrupted || isAborted(signal)) throw new CowherdError('INTERRUPTED', 'Interrupted while the image was prepared');
}
