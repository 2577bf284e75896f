import { parseDuration } from '../../../core/duration.js';
import { CowherdError, type ErrorCode } from '../../../core/errors.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { prepareCommand, preparingFleet, recipeName } from '../../../core/image/recipe.js';
import type { Ports } from '../../../ports/index.js';
import { spawnBootOnce } from '../../clone/boot-once.js';
import { knownRecord } from '../../fleet/access.js';
import { holdingFleet } from '../../fleet/held-lock.js';
import { resolveBase } from '../../fleet/spawn/input/base-input.js';
import type { SpawnOptions } from '../../fleet/spawn/input/options.js';
import { spawn } from '../../fleet/spawn/spawn.js';
import { dryPorts } from '../../run/dry-run/ports.js';
import type { ImageRecipe, PrepareOptions } from './options.js';
import { prepareLocked } from './prepare.js';
import { imagesOf, type LoadedRecipe, loadRecipe } from './recipe.js';

/** Another run may be preparing the same image: longer than the default time limit of that. */
const lockWaitSeconds = 2 * 3600;

/** Spawns a fleet; first prepares its base image, if the options have a recipe and no image of the store was prepared with it. */
export async function spawnWithImage(ports: Ports, { image, ...options }: SpawnOptions): Promise<Outcome> {
  const create = options.bootOnce === true ? spawnBootOnce : spawn;
  if (image === undefined) return create(ports, options);
  const { base, notes } = await preparedImage(ports, { ...options, image });
  const outcome = await create(ports, { ...options, base });
  return { ...outcome, notes: [...notes, ...outcome.notes] };
}

type WithImage = SpawnOptions & { image: NonNullable<SpawnOptions['image']> };

/** @returns the image for the fleet. In a dry run, if there is none yet, the one it would be prepared from */
async function preparedImage(ports: Ports, options: WithImage): Promise<{ base: string; notes: string[] }> {
  const { fleet, image, format, trustChain, dryRun, signal, onProgress } = options;
  const request = requestOf(options);
  const recipe = await loadRecipe(ports, request);
  const work = { signal, onProgress, dryRun };
  const source = { ...work, fleet, base: image.from, format, trustChain };
  const { base, notes } = await resolveBase(dryRun === true ? dryPorts(ports) : ports, source, undefined);
  const digest = recipe.digestOn(base);
  const as = image.as ?? recipeName(base.name, digest);
  const recorded = await knownRecord(ports, fleet);
  const images = await imagesOf(ports, digest);
  const found = images.find((one) => one.digest === recorded?.base.digest) ?? images[0];
  if (recorded !== undefined && found?.digest !== recorded.base.digest) throw changed(recorded, found, { ...request, as });
  if (found !== undefined) return { base: refOf(found), notes: [] };
  if (dryRun === true) {
    preparingFleet(as);
    return { base: refOf(base), notes: [...notes, `base image ${as} would be prepared from ${formatBaseRef(base)} first`] };
  }
  try {
    const prepared = await prepareOnce(ports, { ...request, as, signal, onProgress }, recipe, base);
    return { base: refOf(prepared), notes: [...notes, ...prepared.notes] };
  } catch (error) {
    throw ofFleet(error, fleet, { ...request, as });
  }
}

function refOf({ name, digest }: Pick<BaseImage, 'name' | 'digest'>): string {
  return `${name}@${digest}`;
}

/** Two runs at the same time prepare the image once. */
function prepareOnce(
  ports: Ports,
  options: PrepareOptions,
  recipe: LoadedRecipe,
  base: BaseImage,
): Promise<Pick<BaseImage, 'name' | 'digest'> & { notes: string[] }> {
  const work = async (held: Ports): ReturnType<typeof prepareOnce> => {
    const [already] = await imagesOf(held, recipe.digestOn(base));
    if (already !== undefined) return { ...already, notes: [] };
    const { name, digest, ref, generalisation, notes } = await prepareLocked(held, options, recipe, base);
    const told = generalisation.map(({ what, hint }) => `${ref}: ${what}. ${hint}`);
    return { name, digest, notes: [`base image ${ref} was prepared from ${formatBaseRef(base)}`, ...notes, ...told] };
  };
  return holdingFleet(ports, preparingFleet(options.as), work, { waitSeconds: lockWaitSeconds });
}

/** The VM gets the firmware of the fleet, and its network unless the recipe has one. */
function requestOf({ image, spec = {}, defaults = {} }: WithImage): ImageRecipe & Pick<PrepareOptions, 'defaults'> {
  const { from, run, script, generalize, userData, wait, timeout, memory, seed, sshUser } = image;
  const { network: usual, template } = defaults;
  const { firmware } = spec;
  const network = image.network ?? spec.network;
  return {
    ...{ from, run, script, generalize, userData, wait },
    timeoutMs: timeout === undefined ? undefined : parseDuration(timeout),
    spec: Object.fromEntries(
      Object.entries({ memoryMiB: memory, network, seed, sshUser, firmware }).filter(([, value]) => value !== undefined),
    ),
    defaults: { ...(usual === undefined ? {} : { network: usual }), ...(template === undefined ? {} : { template }) },
  };
}

/** The same preparation as a command. */
function commandOf(
  { from, as, run, script, generalize, userData, wait, timeoutMs, spec = {} }: PrepareOptions,
  more: { keep?: boolean } = {},
): string {
  return prepareCommand(from, {
    run,
    script,
    'user-data': userData,
    memory: spec.memoryMiB === undefined ? undefined : `${spec.memoryMiB}MiB`,
    network: spec.network,
    seed: spec.seed,
    'ssh-user': spec.sshUser,
    firmware: spec.firmware,
    wait,
    timeout: timeoutMs === undefined ? undefined : `${Math.ceil(timeoutMs / 1000)}s`,
    generalize,
    as,
    ...more,
  });
}

/** The same rule as for another base image. */
function changed(recorded: FleetRecord, found: BaseImage | undefined, request: PrepareOptions): CowherdError {
  const move = `cowherd rebase ${recorded.name} --base ${found === undefined ? request.as : formatBaseRef(found)}`;
  return new CowherdError(
    'BAD_USAGE',
    `Fleet ${recorded.name} is based on ${formatBaseRef(recorded.base)}, which was not prepared as the fleet file says`,
    {
      hint:
        found === undefined
          ? `To prepare the image and move the members to it: ${commandOf(request)}; ${move}`
          : `To move its members to the image that was: ${move}`,
    },
  );
}

const aboutTheGuest = new Set<ErrorCode>([
  'SCRIPT_FAILED',
  'NOT_READY',
  'GUEST_UNREACHABLE',
  'GUEST_REFUSED',
  'NOT_STOPPED',
  'TOOL_TIMEOUT',
]);

/** Names the fleet, and the command that has the options for such a failure. */
function ofFleet(error: unknown, fleet: string, request: PrepareOptions): unknown {
  if (!(error instanceof CowherdError) || !aboutTheGuest.has(error.code)) return error;
  return new CowherdError(error.code, error.message, {
    details: [...error.details, `the image of fleet ${fleet} was not prepared`],
    hint: `Correct "image" in the fleet file. To try it alone, and keep the VM after a failure: ${commandOf(request, { keep: true })}`,
    cause: error,
  });
}
