import { randomBytes } from 'node:crypto';
import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import {
  type GuestIdentityReport,
  type GuestUpdate,
  parseIdentityReport,
  parseUpdate,
  whatIsStillGolden,
} from '../../core/guest/identity-report.js';
import {
  fixUpParts,
  type GuestIdentity,
  type Reidentification,
  reidentifyAssignments,
  withoutComments,
} from '../../core/guest/reidentify.js';
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

/** The kernel's pool has 256 bits. */
const entropyBytes = 64;
/** Tolerance for a clock that was just set, in milliseconds: Busybox uses whole seconds. */
const clockSlackMs = 3_000;
const keepBytes = 64 * 1024;
/** An emulated guest needs several tenths of a second for the script, and each question meanwhile costs it time. */
const polling = { leastMs: 100, pauseFactor: 4 };

/** What a warm reset corrects. */
export type Refresh = Omit<Reidentification, 'identity' | 'report'>;

/** Updates a guest that keeps its identity.
 * @throws NOT_READY if its hook failed; BAD_SPEC before anything is sent; GUEST_UNREACHABLE, GUEST_REFUSED, TOOL_TIMEOUT, INTERRUPTED
 */
export async function refreshGuest(ports: ReidentifyPorts, domain: string, fix: Refresh, options: ReidentifyOptions): Promise<GuestUpdate> {
  const begunAt = ports.clock.now().getTime();
  const { stdout, stderr } = await ask(ports, domain, fix, options);
  const { self, hookCode } = parseUpdate(domain, stdout);
  assertHook(domain, fix, hookCode, stderr);
  return fix.clock ? withClockNote(ports, self, begunAt) : self;
}

/** Gives a guest another identity. @returns the identity that it reports afterwards
 * @throws NOT_READY if its identity was not changed; otherwise as {@link refreshGuest}
 */
export async function reidentifyGuest(
  ports: ReidentifyPorts,
  domain: string,
  fix: Reidentification & { identity: GuestIdentity },
  options: ReidentifyOptions,
): Promise<GuestIdentityReport> {
  const begunAt = ports.clock.now().getTime();
  const { stdout, stderr } = await ask(ports, domain, fix, options);
  const account = parseIdentityReport(domain, stdout);
  const { self, hookCode } = account;
  const still = whatIsStillGolden(account, fix.identity);
  if (still.length > 0) {
    throw new CowherdError('NOT_READY', `${domain} still has parts of the source VM's identity: ${still.join('; ')}`, {
      details: [...self.notes, ...self.withoutLink.map((device) => `${device} has no link and no address`), ...excerptLines(stderr)],
      hint: 'Do not connect it to networks of the source VM or its other clones. A cold start always gives it its own identity.',
    });
  }
  assertHook(domain, fix, hookCode, stderr);
  return fix.clock ? withClockNote(ports, self, begunAt) : self;
}

/** Reads a guest's identity; changes nothing. @throws as {@link reidentifyGuest} */
export async function readIdentityReport(ports: ReidentifyPorts, domain: string, options: ReidentifyOptions): Promise<GuestIdentityReport> {
  const nothing = { clock: false, entropy: false, renew: false, report: true };
  return parseIdentityReport(domain, (await ask(ports, domain, nothing, options)).stdout).self;
}

/** Prepares a source VM for its freeze. {@link refreshGuest} with `thawed` undoes it. @throws as {@link refreshGuest} */
export async function prepareFreeze(ports: ReidentifyPorts, domain: string, { timeoutMs, signal }: ReidentifyOptions): Promise<void> {
  const parts = await Promise.all((['services', 'before-freeze'] as const).map((part) => ports.builtInTemplate(`guest/${part}`)));
  const input = withoutComments(parts.join(''));
  await execByAgent(ports, domain, ['/bin/sh'], { input, timeoutMs, keepBytes, signal, title: 'the script before the freeze' });
}

function assertHook(domain: string, { hook = '' }: Reidentification, hookCode: number | undefined, stderr: string): void {
  if (hook === '' || hookCode === 0) return;
  throw new CowherdError('NOT_READY', `The hook failed in ${domain} with exit code ${hookCode ?? 'unknown'}`, {
    details: excerptLines(stderr),
    hint: 'The guest itself is ready; only the hook is incomplete.',
  });
}

function withClockNote<T extends GuestUpdate>({ clock }: ReidentifyPorts, self: T, begunAt: number): T {
  const off = Math.max(begunAt - clockSlackMs - self.clockMs, self.clockMs - clock.now().getTime() - clockSlackMs);
  if (off <= 0) return self;
  const way = self.clockMs < begunAt ? 'behind' : 'ahead of';
  return { ...self, notes: [...self.notes, `the clock is ${formatDuration(off + clockSlackMs)} ${way} the host's`] };
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
): Promise<{ stdout: string; stderr: string }> {
  const parts = await Promise.all(fixUpParts(fix).map((part) => ports.builtInTemplate(`guest/${part}`)));
  const values = reidentifyAssignments(fix, { now: ports.clock.now(), entropy: randomBytes(entropyBytes) });
  const input = values + withoutComments(parts.join(''));
  const { exitCode, stdout, stderr } = await execByAgent(ports, domain, ['/bin/sh'], {
    input,
    timeoutMs,
    keepBytes,
    signal,
    ...polling,
    title: 'the fix-up script',
  });
  if (exitCode !== 0) {
    throw new CowherdError('NOT_READY', `The fix-up script failed in ${domain} with exit code ${exitCode}`, {
      details: excerptLines(stderr),
      hint: 'The guest needs /bin/sh and an agent that runs as root and may run programs. The guest may be updated only in part.',
    });
  }
  return { stdout, stderr };
}
