import { formatDuration } from '../../../core/duration.js';
import { CowherdError } from '../../../core/errors.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import { withoutComments } from '../../../core/guest/reidentify.js';
import type { ScriptStep } from '../../../core/guest/script.js';
import { clientKey } from '../../../core/guest/seed.js';
import { excerpt, excerptLines } from '../../../core/guest/text.js';
import { preparingFleet } from '../../../core/image/recipe.js';
import { shellQuote } from '../../../core/quoting.js';
import type { Ports } from '../../../ports/index.js';
import { type GuestEndpoints, localGuests } from '../../guest/guests.js';
import { runInGuest } from '../../guest/run.js';
import { unreachable } from './machine.js';
import { defaultPrepareMs, type PrepareOptions } from './options.js';

/** Runs commands in the VM that is prepared. */

/** One VM only, so more than "cowherd exec" keeps of each of many. */
const keepBytes = 16 * 1024 * 1024;
/** Of a command that failed: what a message quotes of its output. */
const quotedLines = 10;
const quotedCharacters = 64 * 1024;

export interface PreparedGuest {
  member: MemberIdentity;
  endpoints: GuestEndpoints;
  /** clock.monotonic() when everything must have ended. */
  deadline: number;
}

/** @throws FLEET_NOT_FOUND */
export async function openGuest(ports: Ports, fleet: string, deadline: number): Promise<PreparedGuest> {
  const { record, endpoints } = await localGuests(ports)(fleet);
  const [member] = record.members;
  if (member === undefined) throw new Error(`${fleet} has no member`);
  return { member, endpoints, deadline };
}

/** Stops at the first command that fails. @throws SCRIPT_FAILED, TOOL_TIMEOUT, GUEST_UNREACHABLE, GUEST_REFUSED, INTERRUPTED */
export async function runSteps(ports: Ports, guest: PreparedGuest, steps: readonly ScriptStep[], options: PrepareOptions): Promise<void> {
  for (const step of steps) {
    options.onProgress?.({ kind: 'note', text: `Running ${excerpt(step.title)}` });
    await runStep(ports, guest, step, options);
    options.onStep?.(guest.member.name);
  }
}

const asRoot = '[ "$(id -u)" != 0 ] || exec sh -c "$1"; exec sudo -n sh -c "$1"';
/** A user without sudo can still edit the file with its own keys. */
const asRootIfAllowed = '[ "$(id -u)" = 0 ] || ! sudo -n true 2>/dev/null || exec sudo -n sh -c "$1"; exec sh -c "$1"';

/**
 * Removes what members must not share, and the key of this VM. The script finds out what is there, so it suits all guests.
 * @throws as {@link runSteps}
 */
export async function generalizeGuest(ports: Ports, guest: PreparedGuest, options: PrepareOptions): Promise<void> {
  options.onProgress?.({ kind: 'note', text: `Generalizing ${guest.member.name}` });
  // One script, since ssh cannot log in again after the first part.
  const script = `${await forgetLogin(ports, options)}${withoutComments(await ports.builtInTemplate('guest/generalize'))}`;
  await runStep(ports, guest, { title: 'the script that generalizes the guest', argv: ['sh', '-c', asRoot, 'sh', script] }, options);
}

/**
 * Removes the key of this VM, so that the image does not contain it. The commands may already have shut the guest down.
 * @returns notes for the user @throws INTERRUPTED
 */
export async function forgetKey(ports: Ports, guest: PreparedGuest, options: PrepareOptions): Promise<string[]> {
  const script = await forgetLogin(ports, options);
  if (script === '') return [];
  try {
    const step = { title: 'the script that removes the key of this VM', argv: ['sh', '-c', asRootIfAllowed, 'sh', script] };
    await runStep(ports, guest, step, options);
    return [];
  } catch (error) {
    if (!(error instanceof CowherdError) || error.code === 'INTERRUPTED') throw error;
    return [`the image still has the public key of this VM; its private key is deleted: ${error.message}`];
  }
}

/** @returns a script; empty without a seed, since the guest has no key then */
async function forgetLogin(ports: Ports, { as }: PrepareOptions): Promise<string> {
  // No other member of the fleet will exist.
  const secrets = await ports.seeds.readSecrets(preparingFleet(as));
  const ownKey = secrets === undefined ? undefined : clientKey(secrets).publicKey.split(' ')[1];
  if (ownKey === undefined) return '';
  return `own_key=${shellQuote(ownKey)}\n${withoutComments(await ports.builtInTemplate('guest/forget-login'))}\n`;
}

async function runStep(
  ports: Ports,
  { member, endpoints, deadline }: PreparedGuest,
  { title, argv, input }: ScriptStep,
  { onOutput, signal, timeoutMs = defaultPrepareMs }: PrepareOptions,
): Promise<void> {
  let tail = '';
  const quoted = (): string[] => excerptLines(tail, quotedLines);
  try {
    const { exitCode } = await runInGuest(ports, endpoints, member, argv, {
      via: 'auto',
      timeoutMs: Math.max(1, deadline - ports.clock.monotonic()),
      keepBytes,
      signal,
      input: input === undefined ? undefined : Buffer.from(input),
      onOutput: (stream, text) => {
        tail = (tail + text).slice(-quotedCharacters);
        onOutput?.(member.name, stream, text);
      },
    });
    if (exitCode === 0) return;
    throw new CowherdError('SCRIPT_FAILED', `${excerpt(title)} failed in ${member.name} with exit code ${exitCode}`, {
      details: quoted(),
      hint: 'Correct it, and run the command again. To look into the VM after a failure, use "cowherd base prepare" with --keep.',
    });
  } catch (error) {
    if (!(error instanceof CowherdError)) throw error;
    if (error.code === 'GUEST_UNREACHABLE') throw unreachable(error);
    if (error.code !== 'TOOL_TIMEOUT') throw error;
    throw new CowherdError('TOOL_TIMEOUT', `${excerpt(title)} did not finish in ${member.name} within ${formatDuration(timeoutMs)}`, {
      details: quoted(),
      hint: 'Allow more time with --timeout, for example --timeout 2h. The time limit includes the boot of the VM.',
      cause: error,
    });
  }
}
