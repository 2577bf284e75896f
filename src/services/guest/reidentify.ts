import { randomBytes } from 'node:crypto';
import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import { type GuestAccount, type GuestIdentityReport, parseIdentityReport, whatIsStillGolden } from '../../core/guest/identity-report.js';
import { type Reidentification, reidentifyAssignments, withoutComments } from '../../core/guest/reidentify.js';
import { excerptLines } from '../../core/guest/text.js';
import type { Ports } from '../../ports/index.js';
import type { Clock } from '../../ports/machine.js';
import { isAborted } from '../run/member-executor.js';
import { execByAgent } from './agent-exec.js';

export type { GuestIdentityReport } from '../../core/guest/identity-report.js';
export type { GuestIdentity, Reidentification } from '../../core/guest/reidentify.js';

/** Updates a guest whose memory was restored or cloned, with one script that its agent runs. */

export type ReidentifyPorts = Pick<Ports, 'agent' | 'clock' | 'builtInTemplate'>;

export interface ReidentifyOptions {
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

const entropyBytes = 512;
/** Tolerance for a clock that was just set, in milliseconds: Busybox uses whole seconds. */
const clockSlackMs = 3_000;
const keepBytes = 64 * 1024;
const nothing: Reidentification = { clock: false, entropy: false, renew: false };

/** @returns the identity that the guest reports afterwards
 * @throws NOT_READY if its identity was not changed or its hook failed; BAD_SPEC before anything is sent;
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
    throw new CowherdError('NOT_READY', `${domain} still has parts of the source VM's identity: ${still.join('; ')}`, {
      details: [...self.notes, ...self.withoutLink.map((device) => `${device} has no link and no address`), ...excerptLines(stderr)],
      hint: 'Do not connect it to networks of the source VM or its other clones. A cold start always gives it its own identity.',
    });
  }
  if (fix.hook !== undefined && fix.hook !== '' && hookCode !== 0) {
    throw new CowherdError('NOT_READY', `The hook failed in ${domain} with exit code ${hookCode ?? 'unknown'}`, {
      details: excerptLines(stderr),
      hint: 'The guest itself is ready; only the hook is incomplete.',
    });
  }
  if (!fix.clock) return self;
  const off = Math.max(begunAt - clockSlackMs - self.clockMs, self.clockMs - ports.clock.now().getTime() - clockSlackMs);
  if (off <= 0) return self;
  const way = self.clockMs < begunAt ? 'behind' : 'ahead of';
  return { ...self, notes: [...self.notes, `the clock is ${formatDuration(off + clockSlackMs)} ${way} the host's`] };
}

/** Reads a guest's identity; changes nothing. @throws as {@link reidentifyGuest} */
export async function readIdentityReport(ports: ReidentifyPorts, domain: string, options: ReidentifyOptions): Promise<GuestIdentityReport> {
  return (await ask(ports, domain, nothing, options)).account.self;
}

const agentPauseMs = 300;

/** Retries until the agent answers: after a resume or during a boot it takes some time. @param deadline on the monotonic clock */
export async function retryUntilAnswered<T>(clock: Clock, deadline: number, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
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
  // An emulated agent takes time for each byte.
  const script = withoutComments(await ports.builtInTemplate('fix-up'));
  const input = reidentifyAssignments(fix, { now: ports.clock.now(), entropy: randomBytes(entropyBytes) }) + script;
  const { exitCode, stdout, stderr } = await execByAgent(ports, domain, ['/bin/sh'], {
    input,
    timeoutMs,
    keepBytes,
    signal,
    title: 'the fix-up script',
  });
  if (exitCode !== 0) {
    throw new CowherdError('NOT_READY', `The fix-up script failed in ${domain} with exit code ${exitCode}`, {
      details: excerptLines(stderr),
      hint: 'The guest needs /bin/sh and an agent that runs as root and may run programs. The guest may be updated only in part.',
    });
  }
  return { account: parseIdentityReport(domain, stdout), stderr };
}
