import { randomBytes } from 'node:crypto';
import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import { type GuestAccount, type GuestIdentityReport, parseIdentityReport, whatIsStillGolden } from '../../core/guest/identity-report.js';
import { type Reidentification, reidentifyAssignments } from '../../core/guest/reidentify.js';
import { excerptLines } from '../../core/guest/text.js';
import type { Ports } from '../../ports/index.js';
import type { Clock } from '../../ports/machine.js';
import { isAborted } from '../run/member-executor.js';
import { execByAgent } from './agent-exec.js';

export type { GuestIdentityReport } from '../../core/guest/identity-report.js';
export type { GuestIdentity, Reidentification } from '../../core/guest/reidentify.js';

/** Puts a guest right whose memory was put back to a moment, or is that of another VM: one program, run by its agent. */

export type ReidentifyPorts = Pick<Ports, 'agent' | 'clock' | 'builtInTemplate'>;

export interface ReidentifyOptions {
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

const entropyBytes = 512;
/** Of a clock that was just set: milliseconds. Busybox sets and tells whole seconds. */
const clockSlackMs = 3_000;
const keepBytes = 64 * 1024;
const nothing: Reidentification = { clock: false, entropy: false, renew: false };

/**
 * @returns who the guest says that it is afterwards
 * @throws NOT_READY where it did not become what it should be, or its hook failed; BAD_SPEC before anything is sent;
 *   GUEST_UNREACHABLE, GUEST_REFUSED, TOOL_TIMEOUT, INTERRUPTED
 */
export async function reidentifyGuest(
  ports: ReidentifyPorts,
  domain: string,
  fix: Reidentification,
  options: ReidentifyOptions,
): Promise<GuestIdentityReport> {
  const begunAt = ports.clock.now().getTime();
  const { account, stderr } = await ask(ports, domain, fix, options);
  const { self, hookCode } = account;
  const still = fix.identity === undefined ? [] : whatIsStillGolden(account, fix.identity);
  if (still.length > 0) {
    throw new CowherdError('NOT_READY', `${domain} is not itself yet; still the golden VM's: ${still.join('; ')}`, {
      details: [...self.notes, ...excerptLines(stderr)],
      hint: 'Until it is, keep it off networks that the golden VM or its other clones are on. A cold start makes it itself for certain.',
    });
  }
  if (fix.hook !== undefined && fix.hook !== '' && hookCode !== 0) {
    throw new CowherdError('NOT_READY', `The hook ended in ${domain} with exit code ${hookCode ?? 'unknown'}`, {
      details: excerptLines(stderr),
      hint: 'The guest is itself; what the hook should have done is not done.',
    });
  }
  if (!fix.clock) return self;
  const off = Math.max(begunAt - clockSlackMs - self.clockMs, self.clockMs - ports.clock.now().getTime() - clockSlackMs);
  if (off <= 0) return self;
  const way = self.clockMs < begunAt ? 'behind' : 'ahead of';
  return { ...self, notes: [...self.notes, `the clock is ${formatDuration(off + clockSlackMs)} ${way} the host's`] };
}

/** Asks a guest who it is; changes nothing. @throws as {@link reidentifyGuest} */
export async function readIdentityReport(ports: ReidentifyPorts, domain: string, options: ReidentifyOptions): Promise<GuestIdentityReport> {
  return (await ask(ports, domain, nothing, options)).account.self;
}

const agentPauseMs = 300;

/** An agent that has just gone on may not answer at once, and one that boots takes its time. @param deadline on the monotonic clock */
export async function untilHeard<T>(clock: Clock, deadline: number, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const isSilent = error instanceof CowherdError && error.code === 'GUEST_UNREACHABLE';
      if (!isSilent || clock.monotonic() > deadline || isAborted(signal)) throw error;
      await clock.sleep(agentPauseMs, signal);
    }
  }
}

async function ask(
  ports: ReidentifyPorts,
  domain: string,
  fix: Reidentification,
  { timeoutMs, signal }: ReidentifyOptions,
): Promise<{ account: GuestAccount; stderr: string }> {
  const script = await ports.builtInTemplate('fix-up');
  const input = reidentifyAssignments(fix, { now: ports.clock.now(), entropy: randomBytes(entropyBytes) }) + script;
  const { exitCode, stdout, stderr } = await execByAgent(ports, domain, ['/bin/sh'], {
    input,
    timeoutMs,
    keepBytes,
    signal,
    title: 'the fix-up',
  });
  if (exitCode !== 0) {
    throw new CowherdError('NOT_READY', `The fix-up failed in ${domain} with exit code ${exitCode}`, {
      details: excerptLines(stderr),
      hint: 'The guest needs /bin/sh, and an agent that runs as root and may run programs. It may be put right in part only.',
    });
  }
  return { account: parseIdentityReport(domain, stdout), stderr };
}
