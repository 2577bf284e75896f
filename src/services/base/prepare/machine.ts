import { CowherdError, type ErrorCode, type ErrorReport, exitCodeOf } from '../../../core/errors.js';
import { parseWaitFor, type WaitFor } from '../../../core/guest/stages.js';
import type { BaseImage } from '../../../core/image/base.js';
import { preparingFleet } from '../../../core/image/recipe.js';
import { parseNetwork } from '../../../core/spec/flag-values.js';
import { defaultDomainSpec, type GivenSpec } from '../../../core/spec/spec.js';
import type { SpawnOptions } from '../../fleet/spawn/input/options.js';
import type { PrepareOptions } from './options.js';

/** The VM in which the commands run, as options of spawn. */

/** What a guest needs for commands. */
const reachableHint =
  'Commands need the QEMU guest agent in the image, or ssh with a seed: --seed nocloud --wait ssh. To look into the VM after a failure, add --keep.';

/** @param base the image that it boots from @throws BAD_USAGE if it can never be reached */
export function machineOf(options: PrepareOptions, base: BaseImage): SpawnOptions {
  const { as, spec = {}, userData, defaults, signal, onProgress } = options;
  const own = base.defaults ?? {};
  const settings: GivenSpec = {
    ...spec,
    memoryMiB: spec.memoryMiB ?? own.memoryMiB,
    seed: spec.seed ?? (userData === undefined ? own.seed : undefined),
    sshUser: spec.sshUser ?? own.sshUser,
    firmware: spec.firmware ?? own.firmware,
  } as GivenSpec;
  const wait = waitOf(options, base, userData === undefined ? settings.seed : 'nocloud');
  const { kind } = parseNetwork(spec.network ?? defaults?.network ?? defaultDomainSpec.network);
  // Otherwise ssh cannot reach it.
  const forwardSsh = kind === 'user' && wait.stages.some((stage) => stage === 'ssh' || stage === 'cloud-init');
  return {
    fleet: preparingFleet(as),
    base: `${base.name}@${base.digest}`,
    count: 1,
    spec: forwardSsh ? { ...settings, forwardSsh } : settings,
    seedFiles: { userData },
    ...(defaults === undefined ? {} : { defaults }),
    wait,
    prepares: { image: as, kept: false },
    signal,
    onProgress,
  };
}

/** The stages after which commands can run. */
function waitOf({ wait }: PrepareOptions, { defaults, contents }: BaseImage, seed: GivenSpec['seed']): WaitFor {
  if (wait !== undefined) return parseWaitFor(wait);
  const usual = defaults?.wait;
  if (usual === 'agent' || usual === 'ssh' || usual === 'cloud-init') return parseWaitFor(usual);
  if (contents?.agent !== false) return parseWaitFor('agent');
  if (seed === 'nocloud') return parseWaitFor('ssh');
  throw new CowherdError('BAD_USAGE', 'The image has no guest agent, and without a seed ssh has no key', { hint: reachableHint });
}

/** Why the VM did not start, or did not become ready. */
export function notReady({ code, message, details = [], hint }: ErrorReport): CowherdError {
  const isLate = code === 'NOT_READY';
  return new CowherdError(Object.hasOwn(exitCodeOf, code) ? (code as ErrorCode) : 'NOT_READY', message, {
    details,
    // The VM is removed, so a command that shows its console would fail.
    hint: isLate || hint === undefined ? `Allow more time with --timeout. ${reachableHint}` : hint,
  });
}

/** If neither the agent nor ssh can run a command. */
export function unreachable(error: CowherdError): CowherdError {
  return new CowherdError(error.code, error.message, { details: error.details, hint: reachableHint, cause: error });
}
