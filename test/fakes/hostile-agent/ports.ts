import { VirshAgent } from '../../../src/adapters/libvirt/virsh-agent.js';
import type { Clock } from '../../../src/ports/machine.js';

/** Ports to guests that answer with given replies: what libvirt's agent commands give is faked, all else is cowherd's own. */

/** What virsh prints of an agent's reply, as libvirt 9.0 has it print. */
export function virshReply(line: string): { stdout: string; error: string } {
  let reply: { error?: { class?: unknown; desc?: unknown } };
  try {
    reply = JSON.parse(line);
  } catch {
    return { stdout: '', error: `internal error: cannot parse json ${line}: lexical error: invalid char in json text.` };
  }
  const { error } = reply;
  if (error === undefined) return { stdout: `${line}\n`, error: '' };
  // Source: libvirt, src/qemu/qemu_agent.c, qemuAgentCheckError
  const why = typeof error.desc === 'string' ? error.desc : typeof error.class === 'string' ? error.class : 'unknown QEMU command error';
  return { stdout: '', error: `internal error: unable to execute QEMU agent command 'guest-exec': ${why}` };
}

/** How many replies were given, by all agents together. */
export let given = 0;

/** Agents of several domains. @param lines by domain and command: the reply that comes next */
export function agentOf(lines: (domain: string, command: string) => string): VirshAgent {
  return new VirshAgent(async (line) => {
    const [, domain = '', command = ''] = /^qemu-agent-command '([^']*)' '\{"execute":"([^"]*)"/.exec(line) ?? [];
    given++;
    return virshReply(lines(domain, command));
  });
}

/** No time passes: what is asked of guests ends by itself. */
export const patientClock: Clock = {
  monotonic: () => 0,
  now: () => new Date(1_700_000_000_000),
  sleep: (_, signal) => new Promise((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true })),
};

/** Time passes as fast as it is waited for, and a second with each look at the clock. */
export function fastClock(): Clock {
  let now = 0;
  return {
    monotonic: () => (now += 1_000),
    now: () => new Date(1_700_000_000_000 + now),
    sleep: async (ms) => {
      now += ms;
    },
  };
}
