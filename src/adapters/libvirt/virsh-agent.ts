import { CowherdError } from '../../core/errors.js';
import { AgentRefusal, refusalHint, refusalReason } from '../../core/guest/refusal.js';
import { excerpt } from '../../core/guest/text.js';
import type { GuestAgent } from '../../ports/index.js';
import { isTimeout, virshError, withoutGuestText } from './session/virsh-errors.js';
import { quote, type Reply } from './session/virsh-session.js';
import { domainWord } from './session/virsh-words.js';

/** libvirt pings an agent first, and waits that long for it. */
const syncSeconds = 5;

/** Guest agents, through libvirt. */
export class VirshAgent implements GuestAgent {
  readonly #run: (command: string, moreMs: number) => Promise<Reply>;

  constructor(run: (command: string, moreMs: number) => Promise<Reply>) {
    this.#run = run;
  }

  async command(domain: string, command: object, timeoutSeconds: number): Promise<unknown> {
    // ASCII only, since virsh reads its input with readline.
    const text = JSON.stringify(command).replace(/[^\u{20}-\u{7e}]/gu, (letter) =>
      [...Array(letter.length).keys()].map((at) => `\\u${letter.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''),
    );
    const seconds = Math.max(1, Math.ceil(timeoutSeconds));
    const line = `qemu-agent-command ${domainWord(domain)} ${quote(text)} --timeout ${seconds}`;
    const reply = await this.#run(line, (seconds + syncSeconds) * 1_000).catch((error: unknown) => {
      throw isTimeout(error) ? silentAgent(domain, error.message) : error;
    });
    if (reply.error !== '') throw agentError(domain, reply.error);
    try {
      return (JSON.parse(reply.stdout) as { return?: unknown }).return;
    } catch (cause) {
      throw unreadable(domain, cause);
    }
  }
}

function unreadable(domain: string, cause?: unknown): CowherdError {
  return new CowherdError('GUEST_UNREACHABLE', `The agent of ${domain} sent a reply that is not JSON`, {
    hint: 'Check the qemu-guest-agent in that guest, or use ssh instead: --via ssh.',
    cause,
  });
}

function silentAgent(domain: string, why: string): CowherdError {
  return new CowherdError('GUEST_UNREACHABLE', `The agent of ${domain} does not answer: ${why}`, {
    hint: 'Is the guest running, with qemu-guest-agent installed and started in it?',
  });
}

function agentError(domain: string, error: string): CowherdError {
  const refused = /unable to execute QEMU agent command '[^']*': ([\s\S]*)/.exec(error)?.[1];
  if (refused !== undefined) {
    const reason = refusalReason(refused);
    return new AgentRefusal(reason, `The agent of ${domain} refused: ${excerpt(refused)}`, { hint: refusalHint(reason, domain) });
  }
  // libvirt can parse deeply nested JSON, but not forward it.
  if (withoutGuestText(error) !== error || /failed to convert virJSONValue/i.test(error)) return unreadable(domain);
  if (/No complete agent response|Unable to encode message payload/i.test(error)) {
    return new CowherdError('GUEST_UNREACHABLE', `The agent of ${domain} sent a reply that is larger than libvirt accepts (4 to 7 MB)`, {
      hint: 'Make the command write less output, or use ssh: --via ssh. If the agent stops responding, restart the guest.',
    });
  }
  if (/not (connected|responding|available|configured)|not running|timed? ?out/i.test(error)) {
    return silentAgent(domain, excerpt(error.split('\n').at(-1) ?? error));
  }
  return virshError(`query the agent of ${domain}`, error);
}
