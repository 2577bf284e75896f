import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import { execCommand, parseExecBegun, parseExecStatus } from '../../core/guest/agent.js';
import { type GuestText, guestText } from '../../core/guest/text.js';
import type { OutputListener } from '../../ports/guest.js';
import type { Ports, RemoteResult } from '../../ports/index.js';
import { isAborted } from '../run/member-executor.js';

/** Runs one program in one guest by its agent, and waits for its end. */

export interface AgentExecOptions {
  /** For its standard input. */
  input?: string | Uint8Array | undefined;
  /** Called once, when the program has ended: an agent hands its output over then. */
  onOutput?: OutputListener | undefined;
  timeoutMs: number;
  /** Kept of each stream. */
  keepBytes: number;
  signal?: AbortSignal | undefined;
  /** What it is called in messages; its path when left out. */
  title?: string;
}

const callSeconds = 10;
/** The first look at a program that runs comes soon, later ones less often: milliseconds. */
const pollMs = { first: 50, most: 1_000, growth: 1.5 };

/** @throws GUEST_UNREACHABLE, GUEST_REFUSED, TOOL_TIMEOUT, INTERRUPTED */
export async function execByAgent(
  { agent, clock }: Pick<Ports, 'agent' | 'clock'>,
  domain: string,
  argv: readonly string[],
  { input, onOutput, timeoutMs, keepBytes, signal, title = argv[0] ?? '' }: AgentExecOptions,
): Promise<RemoteResult> {
  const deadline = clock.monotonic() + timeoutMs;
  // One call never takes much longer than the caller is ready to wait.
  const call = (command: object): Promise<unknown> =>
    agent.command(domain, command, Math.min(callSeconds, Math.max(0, deadline - clock.monotonic()) / 1000));
  let pid: number;
  try {
    pid = parseExecBegun(domain, await call(execCommand(argv, input)));
  } catch (error) {
    // As a shell says it, and as it comes by ssh.
    if (error instanceof CowherdError && error.code === 'GUEST_REFUSED' && /Failed to execute child process/i.test(error.message))
      return notFound(argv[0] ?? '', onOutput);
    throw error;
  }
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
    if (isAborted(signal)) throw new CowherdError('INTERRUPTED', `Interrupted while ${title} ran in ${domain}; it goes on there`);
    if (clock.monotonic() >= deadline) {
      throw new CowherdError('TOOL_TIMEOUT', `${title} did not end in ${domain} within ${formatDuration(timeoutMs)}`, {
        hint: 'It may go on in the guest. Give it longer with --timeout.',
      });
    }
    await clock.sleep(pause, signal);
  }
}

function notFound(program: string, onOutput: OutputListener | undefined): RemoteResult {
  const stderr = guestText(`${program}: not found\n`);
  onOutput?.('stderr', stderr);
  return { exitCode: 127, stdout: guestText(''), stderr, truncated: false };
}
