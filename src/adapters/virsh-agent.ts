import { CowherdError } from '../core/errors.js';
import type { GuestAgent } from '../ports.js';
import { isTimeout, virshError } from './virsh-errors.js';
import { quote, type Reply } from './virsh-session.js';

/** libvirt asks an agent first whether it is there, and waits that long for it. */
const syncSeconds = 5;

/** Guest agents, through libvirt's channel to them. */
export class VirshAgent implements GuestAgent {
  readonly #run: (command: string, moreMs: number) => Promise<Reply>;

  constructor(run: (command: string, moreMs: number) => Promise<Reply>) {
    this.#run = run;
  }

  async command(domain: string, command: object, timeoutSeconds: number): Promise<unknown> {
    // Plain ASCII: virsh's line editor is given no other letters.
    const text = JSON.stringify(command).replace(/[^\u{20}-\u{7e}]/gu, (letter) =>
      [...Array(letter.length).keys()].map((at) => `\\u${letter.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''),
    );
    const seconds = Math.max(1, Math.ceil(timeoutSeconds));
    const line = `qemu-agent-command ${quote(domain)} ${quote(text)} --timeout ${seconds}`;
    const reply = await this.#run(line, (seconds + syncSeconds) * 1_000).catch((error: unknown) => {
      throw isTimeout(error) ? silentAgent(domain, error.message) : error;
    });
    if (reply.error !== '') throw agentError(domain, reply.error);
    try {
      return (JSON.parse(reply.stdout) as { return?: unknown }).return;
    } catch (cause) {
      throw new CowherdError('GUEST_UNREACHABLE', `The agent of ${domain} gave an answer that is not JSON`, {
        hint: 'Is the qemu-ga in that guest whole?',
        cause,
      });
    }
  }
}

function silentAgent(domain: string, why: string): CowherdError {
  return new CowherdError('GUEST_UNREACHABLE', `The agent of ${domain} does not answer: ${why}`, {
    hint: 'Is qemu-guest-agent installed and running in the guest, and the guest up?',
  });
}

function agentError(domain: string, error: string): CowherdError {
  const refused = /unable to execute QEMU agent command '[^']*': (.*)/.exec(error)?.[1];
  if (refused !== undefined) {
    return new CowherdError('GUEST_REFUSED', `The agent of ${domain} refused: ${refused}`, {
      hint: 'Some distributions forbid parts of qemu-ga: see its BLACKLIST_RPC or --allow-rpcs setting in the guest.',
    });
  }
  if (/No complete agent response/i.test(error)) {
    return new CowherdError('GUEST_UNREACHABLE', `The agent of ${domain} said more than libvirt takes (some 7 MB), and was cut off`, {
      hint: 'Have the command write less, or go by ssh: --via ssh. The agent answers again after a restart of the guest.',
    });
  }
  if (/not (connected|responding|available|configured)|not running|timed? ?out/i.test(error)) {
    return silentAgent(domain, (error.split('\n').at(-1) ?? error).trim());
  }
  return virshError(`talk to the agent of ${domain}`, error);
}
