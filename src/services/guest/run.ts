import { formatDuration } from '../../core/duration.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { parseCloudInitStatus } from '../../core/guest/cloud-init.js';
import { AgentRefusal } from '../../core/guest/refusal.js';
import type { OutputListener } from '../../ports/guest.js';
import type { Ports, RemoteResult } from '../../ports/index.js';
import { execByAgent } from './agent-exec.js';
import type { GuestEndpoints } from './guests.js';

/** Runs a program in a guest, by its agent or by ssh. */

export const transports = ['auto', 'agent', 'ssh'] as const;
/** auto: the agent if it answers, otherwise ssh. */
export type Transport = (typeof transports)[number];

export interface GuestRunOptions {
  via: Transport;
  timeoutMs: number;
  /** Kept of each stream. */
  keepBytes: number;
  signal?: AbortSignal | undefined;
  /** Standard input of the program. */
  input?: Uint8Array | undefined;
  /** Called with output within the limit: by ssh as it arrives, by an agent when the program has exited. */
  onOutput?: OutputListener | undefined;
}

export type GuestRunPorts = Pick<Ports, 'agent' | 'clock' | 'remote'>;

export interface GuestRunResult extends RemoteResult {
  via: 'agent' | 'ssh';
}

const pingSeconds = 2;
/** An agent reads a message as a whole: one megabyte takes the agent of an emulated guest longer than libvirt waits. */
const maxAgentBytes = 64 * 1024;

/** @throws GUEST_UNREACHABLE, GUEST_REFUSED, TOOL_TIMEOUT, INTERRUPTED */
export async function runInGuest(
  ports: GuestRunPorts,
  endpoints: GuestEndpoints,
  member: MemberIdentity,
  argv: readonly string[],
  options: GuestRunOptions,
): Promise<GuestRunResult> {
  if (options.via !== 'ssh' && (options.input?.length ?? 0) > maxAgentBytes) return runLargeInput(ports, endpoints, member, argv, options);
  if (options.via === 'ssh') return { ...(await runBySsh(ports, endpoints, member, argv, options)), via: 'ssh' };
  if (options.via === 'agent') return { ...(await execByAgent(ports, member.name, argv, options)), via: 'agent' };
  try {
    // Ping first: if the call that runs the program fails, it is unknown whether it ran.
    await ports.agent.command(member.name, { execute: 'guest-ping' }, pingSeconds);
  } catch (error) {
    if (!(error instanceof CowherdError) || error.code !== 'GUEST_UNREACHABLE') throw error;
    const where = await endpoints.host(member);
    if (where === undefined) throw error;
    return { ...(await runBySsh(ports, endpoints, member, argv, options)), via: 'ssh' };
  }
  try {
    return { ...(await execByAgent(ports, member.name, argv, options)), via: 'agent' };
  } catch (error) {
    // Some distributions forbid agents to run programs: it did not run.
    const isForbidden = error instanceof AgentRefusal && error.reason === 'forbidden';
    if (!isForbidden || (await endpoints.host(member)) === undefined) throw error;
    return { ...(await runBySsh(ports, endpoints, member, argv, options)), via: 'ssh' };
  }
}

/** Runs the program by ssh, because the input is too large for an agent. @throws GUEST_UNREACHABLE */
async function runLargeInput(
  ports: GuestRunPorts,
  endpoints: GuestEndpoints,
  member: MemberIdentity,
  argv: readonly string[],
  options: GuestRunOptions,
): Promise<GuestRunResult> {
  if (options.via === 'auto' && (await endpoints.host(member)) !== undefined)
    return { ...(await runBySsh(ports, endpoints, member, argv, options)), via: 'ssh' };
  throw new CowherdError('GUEST_UNREACHABLE', `The input is larger than 64 KiB, the limit of the agent of ${member.name}`, {
    hint: `Copy it into the guest as a file first: cowherd cp FILE ${member.name}:/tmp/. If ssh works, --via ssh accepts up to 1 MiB.`,
  });
}

async function runBySsh(
  ports: GuestRunPorts,
  endpoints: GuestEndpoints,
  member: MemberIdentity,
  argv: readonly string[],
  { timeoutMs, keepBytes, signal, input, onOutput }: GuestRunOptions,
): Promise<RemoteResult> {
  try {
    return await ports.remote.run(await endpoints.ssh(member), argv, { timeoutMs, keepBytes, signal, input, onOutput });
  } catch (error) {
    if (error instanceof CowherdError && error.code === 'TOOL_TIMEOUT') throw stillRunning(member, argv, timeoutMs);
    throw error;
  }
}

function stillRunning({ name }: Pick<MemberIdentity, 'name'>, argv: readonly string[], timeoutMs: number): CowherdError {
  return new CowherdError('TOOL_TIMEOUT', `${argv[0]} did not finish in ${name} within ${formatDuration(timeoutMs)}`, {
    hint: 'It may still be running in the guest. Allow more time with --timeout.',
  });
}

/** Runs "cloud-init status" only when a result exists: it is a Python program that would slow down an emulated guest for many seconds.
 */
const askCloudInit = `d=/run/cloud-init
[ ! -d $d ] || [ -e $d/result.json ] || [ -e $d/disabled ] || { echo status: running; exit; }
exec cloud-init status`;
const askCloudInitMs = 120_000;

/** Whether a member's cloud-init has finished. @throws NOT_READY if it never will */
export async function cloudInitState(
  ports: GuestRunPorts,
  endpoints: GuestEndpoints,
  member: MemberIdentity,
  { withinMs, signal }: { withinMs: number; signal?: AbortSignal | undefined },
): Promise<{ done: boolean; why: string }> {
  let result: GuestRunResult;
  try {
    result = await runInGuest(ports, endpoints, member, ['sh', '-c', askCloudInit], {
      via: 'auto',
      timeoutMs: Math.min(askCloudInitMs, withinMs),
      signal,
      keepBytes: 4096,
    });
  } catch (error) {
    return { done: false, why: reportOf(error).message };
  }
  if (result.exitCode === 127) throw noCloudInit(member);
  const { state, details } = parseCloudInitStatus(result.stdout);
  if (state === 'error') {
    throw new CowherdError('NOT_READY', `cloud-init finished with errors in ${member.name}`, {
      details,
      hint: `See the errors: cowherd exec ${member.name.replace(/-\d+$/, '')} ${member.index} -- cloud-init status --long`,
    });
  }
  return {
    done: state === 'done' || state === 'disabled' || state === 'degraded done',
    why: state === undefined ? `cloud-init gave no status (exit code ${result.exitCode})` : `cloud-init is ${state}`,
  };
}

function noCloudInit({ name }: MemberIdentity): CowherdError {
  return new CowherdError('NOT_READY', `cloud-init not found in ${name}`, {
    hint: 'Wait for agent or ssh instead, or install cloud-init in the base image.',
  });
}
