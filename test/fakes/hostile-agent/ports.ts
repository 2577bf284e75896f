import { VirshAgent } from '../../../src/adapters/libvirt/virsh-agent.js';
import type { Clock } from '../../../src/ports/machine.js';

/** Guest ports with given replies: only the answers of libvirt's agent commands are faked. */

/** The output of virsh in libvirt 9.0 for an agent's reply. */
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

/** Total number of replies of all agents. */
export let given = 0;

/** Agents of several domains. @param lines by domain and command: the next reply */
export function agentOf(lines: (domain: string, command: string) => string): VirshAgent {
  return new VirshAgent(async (line) => {
    const [, domain = '', command = ''] = /^qemu-agent-command '([^']*)' '\{"execute":"([^"]*)"/.exec(line) ?? [];
    given++;
    return virshReply(lines(domain, command));
  });
}

/** A clock that stands still: calls to guests end by themselves. */
export const patientClock: Clock = {
  monotonic: () => 0,
  now: () => new Date(1_700_000_000_000),
  sleep: (_, signal) => new Promise((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true })),
};

/** A clock that advances immediately with each sleep, and by one second with each reading. */
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
