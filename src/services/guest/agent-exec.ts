import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import { execCommand, parseExecBegun, parseExecStatus } from '../../core/guest/agent.js';
import { AgentRefusal } from '../../core/guest/refusal.js';
import { type GuestText, guestText } from '../../core/guest/text.js';
import type { OutputListener } from '../../ports/guest.js';
import type { Ports, RemoteResult } from '../../ports/index.js';
import { isAborted } from '../run/member-executor.js';

/** Runs a program in a guest by its agent and waits for it to exit. */

export interface AgentExecOptions {
  /** Standard input. */
  input?: string | Uint8Array | undefined;
  /** Called once when the program has exited: the agent returns its output only then. */
  onOutput?: OutputListener | undefined;
  timeoutMs: number;
  /** Kept of each stream. */
  keepBytes: number;
  signal?: AbortSignal | undefined;
  /** Milliseconds that the program takes at least: each question costs the guest time. Default: 0. */
  leastMs?: number;
  /**
   * Each pause lasts at least so many times as long as the last answer took, which is longer in an emulated guest that is busy, and
   * this part of the time so far. Default: 0, none of it.
   */
  pauseFactor?: number;
  /** Name for messages; default: its path. */
  title?: string;
}

const callSeconds = 10;
/** Poll interval with back-off, in milliseconds. */
const pollMs = { first: 50, most: 1_000, growth: 1.5 };

/** @throws GUEST_UNREACHABLE, GUEST_REFUSED, TOOL_TIMEOUT, INTERRUPTED */
export async function execByAgent(
  { agent, clock }: Pick<Ports, 'agent' | 'clock'>,
  domain: string,
  argv: readonly string[],
  { input, onOutput, timeoutMs, keepBytes, signal, leastMs = 0, pauseFactor = 0, title = argv[0] ?? '' }: AgentExecOptions,
): Promise<RemoteResult> {
  const begun = clock.monotonic();
  const deadline = begun + timeoutMs;
  let answeredInMs = 0;
  // Limit each call to the remaining time.
  const call = async (command: object): Promise<unknown> => {
    const asked = clock.monotonic();
    const reply = await agent.command(domain, command, Math.min(callSeconds, Math.max(0, deadline - asked) / 1000));
    answeredInMs = clock.monotonic() - asked;
    return reply;
  };
  const wait = (ms: number): Promise<void> => {
    const least = pauseFactor === 0 ? 0 : Math.max(pauseFactor * answeredInMs, (clock.monotonic() - begun) / pauseFactor);
    return clock.sleep(Math.max(ms, Math.min(pollMs.most, least)), signal);
  };
  let pid: number;
  try {
    pid = parseExecBegun(domain, await call(execCommand(argv, input)));
  } catch (error) {
    // Report it like a shell, and like ssh.
    if (error instanceof AgentRefusal && error.reason === 'program not started') return notFound(argv[0] ?? '', onOutput);
    throw error;
  }
  if (leastMs > 0) await wait(leastMs);
  for (let pause = pollMs.first; ; pause = Math.min(pollMs.most, pause * pollMs.growth)) {
    const status = parseExecStatus(domain, await call({ execute: 'guest-exec-status', arguments: { pid } }));
    if (status.exited) {
      const { exitCode, stdout, stderr } = status;
      const keep = (output: Buffer): GuestText => guestText(output.subarray(0, keepBytes).toString('utf8'));
      const truncated = status.truncated || Math.max(stdout.length, stderr.length) > keepBytes;
      const kept = { stdout: keep(stdout), stderr: keep(stderr) };
      for (const stream of ['stdout', 'stderr'] as const) if (kept[stream] !== '') onOutput?.(stream, kept[stream]);
      return { exitCode, ...kept, truncated };
    }
    if (isAborted(signal))
      throw new CowherdError('INTERRUPTED', `Interrupted while ${title} was running in ${domain}`, {
        hint: 'It may still be running in the guest.',
      });
    if (clock.monotonic() >= deadline) {
      throw new CowherdError('TOOL_TIMEOUT', `${title} did not finish in ${domain} within ${formatDuration(timeoutMs)}`, {
        hint: 'It may still be running in the guest. Allow more time with --timeout.',
      });
    }
    await wait(pause);
  }
}

function notFound(program: string, onOutput: OutputListener | undefined): RemoteResult {
  const stderr = guestText(`${program}: not found\n`);
  onOutput?.('stderr', stderr);
  return { exitCode: 127, stdout: guestText(''), stderr, truncated: false };
}
