import { formatDuration } from '../../core/duration.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { parseCloudInitStatus } from '../../core/guest/cloud-init.js';
import type { OutputListener } from '../../ports/guest.js';
import type { Ports, RemoteResult } from '../../ports/index.js';
import { execByAgent } from './agent-exec.js';
import type { EndpointPorts, Endpoints } from './endpoints.js';

/** Runs one program in one guest, by its agent or by ssh. */

export const transports = ['auto', 'agent', 'ssh'] as const;
/** auto: the agent where one answers, else ssh. */
export type Transport = (typeof transports)[number];

export interface GuestRunOptions {
  via: Transport;
  timeoutMs: number;
  /** Kept of each stream. */
  keepBytes: number;
  signal?: AbortSignal | undefined;
  /** For the program's standard input. */
  input?: Uint8Array | undefined;
  /** Called with what is kept: by ssh as it comes, by an agent when the program has ended. */
  onOutput?: OutputListener | undefined;
}

export type GuestRunPorts = EndpointPorts & Pick<Ports, 'remote'>;

export interface GuestRunResult extends RemoteResult {
  via: 'agent' | 'ssh';
}

const pingSeconds = 2;
/** An agent reads its messages whole, and one of a megabyte keeps that of an emulated guest busy for longer than libvirt waits. */
const mostByAgent = 64 * 1024;

/** @throws GUEST_UNREACHABLE, GUEST_REFUSED, TOOL_TIMEOUT, INTERRUPTED */
export async function runInGuest(
  ports: GuestRunPorts,
  endpoints: Endpoints,
  member: MemberIdentity,
  argv: readonly string[],
  options: GuestRunOptions,
): Promise<GuestRunResult> {
  if (options.via !== 'ssh' && (options.input?.length ?? 0) > mostByAgent) return runLargeInput(ports, endpoints, member, argv, options);
  if (options.via === 'ssh') return { ...(await runBySsh(ports, endpoints, member, argv, options)), via: 'ssh' };
  if (options.via === 'agent') return { ...(await execByAgent(ports, member.name, argv, options)), via: 'agent' };
  try {
    // Asked by itself: when the call that runs the program fails, nobody knows whether it ran.
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
    // Some distributions let their agents run nothing: it certainly did not run.
    const isForbidden =
      error instanceof CowherdError && error.code === 'GUEST_REFUSED' && /disabled|not allowed|blocked/i.test(error.message);
    if (!isForbidden || (await endpoints.host(member)) === undefined) throw error;
    return { ...(await runBySsh(ports, endpoints, member, argv, options)), via: 'ssh' };
  }
}

/** By ssh, which takes input of any size. @throws GUEST_UNREACHABLE */
async function runLargeInput(
  ports: GuestRunPorts,
  endpoints: Endpoints,
  member: MemberIdentity,
  argv: readonly string[],
  options: GuestRunOptions,
): Promise<GuestRunResult> {
  if (options.via === 'auto' && (await endpoints.host(member)) !== undefined)
    return { ...(await runBySsh(ports, endpoints, member, argv, options)), via: 'ssh' };
  throw new CowherdError('GUEST_UNREACHABLE', `The input is larger than the 64 KiB that the agent of ${member.name} takes`, {
    hint: `Copy it into the guest as a file first: cowherd cp FILE ${member.name}:/tmp/. Where ssh works, --via ssh takes up to 1 MiB.`,
  });
}

async function runBySsh(
  ports: GuestRunPorts,
  endpoints: Endpoints,
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
  return new CowherdError('TOOL_TIMEOUT', `${argv[0]} did not end in ${name} within ${formatDuration(timeoutMs)}`, {
    hint: 'It may go on in the guest. Give it longer with --timeout.',
  });
}

/**
 * cloud-init itself is asked once it has left a result. Asked before, it is a Python program that takes many seconds of an
 * emulated guest's time from the very work that is waited for.
 */
const askCloudInit = `d=/run/cloud-init
[ ! -d $d ] || [ -e $d/result.json ] || [ -e $d/disabled ] || { echo status: running; exit; }
exec cloud-init status`;
const askCloudInitMs = 120_000;

/** Whether a member's cloud-init is through. @throws NOT_READY where it never will be */
export async function cloudInitState(
  ports: GuestRunPorts,
  endpoints: Endpoints,
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
    throw new CowherdError('NOT_READY', `cloud-init ended with errors in ${member.name}`, {
      details,
      hint: `See them: cowherd exec ${member.name.replace(/-\d+$/, '')} ${member.index} -- cloud-init status --long`,
    });
  }
  return {
    done: state === 'done' || state === 'disabled' || state === 'degraded done',
    why: state === undefined ? `cloud-init gave no status (exit code ${result.exitCode})` : `cloud-init is ${state}`,
  };
}

function noCloudInit({ name }: MemberIdentity): CowherdError {
  return new CowherdError('NOT_READY', `There is no cloud-init in ${name}`, {
    hint: 'Wait for agent or ssh instead, or put cloud-init into the base image.',
  });
}
