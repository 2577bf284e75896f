import { randomBytes } from 'node:crypto';
import { formatDuration } from '../../../core/duration.js';
import { CowherdError } from '../../../core/errors.js';
import { type InteractiveProcess, openTool } from '../../process.js';
import { connectionHint } from './virsh-errors.js';

/**
 * A persistent virsh that reads commands from its standard input: connecting costs 20 ms once instead of per call.
 *
 * virsh reads its input with readline, which echoes a prompt and each command to stdout, and it continues after a failed
 * command. So every command is delimited by `echo` on both streams. The markers are written with quotes inside the word, which
 * the echoed command shows and the output does not, so the two can be distinguished.
 */

export interface Reply {
  stdout: string;
  /** virsh's stderr without the leading `error: `; empty on success. */
  error: string;
}

interface Pending {
  begin: string;
  end: string;
  resolve(reply: Reply): void;
  reject(error: CowherdError): void;
  timer: NodeJS.Timeout;
}

const maxReplyBytes = 64 * 1024 * 1024;

export class VirshSession {
  #conversation: InteractiveProcess;
  #pending: Pending[] = [];
  #sequence = 0;
  #stdout = '';
  #stderr = '';
  #ended: CowherdError | undefined;
  /** Random, since answers contain guest text that must not be able to end them. */
  readonly #nonce = randomBytes(16).toString('hex');
  readonly #timeoutMs: number;

  constructor(uri: string, options: { env: Record<string, string | undefined>; timeoutMs: number; inherit: number[] }) {
    this.#timeoutMs = options.timeoutMs;
    this.#conversation = openTool('virsh', ['-q', '-c', uri], {
      // Keeps readline from wrapping long lines.
      env: { ...options.env, COLUMNS: '100000', TERM: 'dumb', INPUTRC: '/dev/null' },
      inherit: options.inherit,
    });
    this.#conversation.onStdout((chunk) => {
      this.#stdout += chunk;
      this.#settle();
    });
    this.#conversation.onStderr((chunk) => {
      this.#stderr += chunk;
      this.#settle();
    });
    this.#conversation.onEnd((error) => {
      // Whatever the message is, virsh may be missing.
      const said = complaint(this.#stderr) || this.#stderr.trim();
      this.#end(
        error ??
          new CowherdError('CONNECTION_FAILED', `The connection to libvirt ended${said === '' ? '' : `: ${said.split('\n')[0]}`}`, {
            details: said.split('\n').slice(1, 5),
            hint: connectionHint(said),
          }),
      );
    });
  }

  get isUsable(): boolean {
    return this.#ended === undefined;
  }

  /**
   * Runs one command. Several may be pending; virsh answers them in order.
   * @param command one line in virsh's own quoting; see {@link quote}
   * @param moreMs additional time for this command, or less time if negative
   * @throws CONNECTION_FAILED, TOOL_MISSING, TOOL_TIMEOUT (the session is unusable afterwards)
   */
  run(command: string, moreMs = 0): Promise<Reply> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = ++this.#sequence;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#timeOut(command, this.#timeoutMs + moreMs), this.#timeoutMs + moreMs);
      this.#pending.push({ begin: `cow-${this.#nonce}-begin-${id}.`, end: `cow-${this.#nonce}-end-${id}.`, resolve, reject, timer });
      const fence = `cow'-${this.#nonce}-`;
      this.#conversation.write(`echo ${fence}begin-'${id}.\n${command}\necho --err ${fence}end-'${id}.\necho ${fence}end-'${id}.\n`);
    });
  }

  /** Kills virsh: on a normal exit it would write its command history. */
  close(): void {
    this.#end(new CowherdError('CONNECTION_FAILED', 'The connection to libvirt was closed'));
    this.#conversation.kill();
  }

  #settle(): void {
    for (let head = this.#pending[0]; head !== undefined; head = this.#pending[0]) {
      const end = this.#stdout.indexOf(head.end);
      const errorEnd = this.#stderr.indexOf(head.end);
      if (end < 0 || errorEnd < 0) break;
      const from = this.#stdout.indexOf('\n', this.#stdout.indexOf(head.begin));
      const to = this.#stdout.lastIndexOf('virsh # echo --err', end);
      const stdout = this.#stdout.slice(from + 1, Math.max(from + 1, to));
      const fence = this.#stderr.lastIndexOf('\n', errorEnd) + 1;
      if (this.#stderr.slice(fence, errorEnd) !== 'error: ') {
        this.#misunderstand(this.#stderr.slice(fence, errorEnd));
        return;
      }
      const error = complaint(this.#stderr.slice(0, fence));
      this.#stdout = this.#stdout.slice(end + head.end.length);
      this.#stderr = this.#stderr.slice(errorEnd + head.end.length + 1);
      clearTimeout(head.timer);
      this.#pending.shift();
      head.resolve({ stdout, error });
    }
    if (this.#stdout.length + this.#stderr.length > maxReplyBytes) {
      this.#end(
        new CowherdError('TOOL_FAILED', `virsh gave more than ${maxReplyBytes} bytes in one answer`, {
          hint: 'Does PATH have the virsh of libvirt? See "command -v virsh".',
        }),
      );
      this.#conversation.kill();
    }
  }

  #timeOut(command: string, afterMs: number): void {
    this.#end(
      new CowherdError(
        'TOOL_TIMEOUT',
        `libvirt did not respond to "${command.split(' ', 2).join(' ')}" within ${formatDuration(afterMs)}`,
        {
          hint: 'libvirtd or the host is overloaded, or hangs. Try "virsh list", then run the same command again. COWHERD_LIBVIRT_TIMEOUT=5m waits longer.',
        },
      ),
    );
    this.#conversation.kill();
  }

  /** Its messages would be misclassified, such as "domain not found". */
  #misunderstand(prefix: string): void {
    this.#end(
      new CowherdError('TOOL_FAILED', `virsh begins its errors with ${JSON.stringify(prefix)}: expected English output (LC_ALL=C)`, {
        hint: 'cowherd runs virsh with LC_ALL=C. Does a wrapper on PATH change that? See "command -v virsh".',
      }),
    );
    this.#conversation.kill();
  }

  #end(error: CowherdError): void {
    this.#ended ??= error;
    for (const { reject, timer } of this.#pending.splice(0)) {
      clearTimeout(timer);
      reject(this.#ended);
    }
  }
}

/** Log lines of libvirt's client library on the same stream, e.g. `2026-01-01 00:00:00.000+0000: 1: warning : …`, are not errors. */
const logLine = /^\d{4}-\d\d-\d\d [\d:.+]+: \d+: (debug|info|warning|error) : .*\n?/gm;

/** virsh begins each error with `error: `. Anything before the first one is a warning of some library. */
function complaint(stderr: string): string {
  const lines = stderr.replace(logLine, '');
  const first = lines.search(/^error: /m);
  return first < 0
    ? ''
    : lines
        .slice(first)
        .replace(/^error: /gm, '')
        .trim();
}

/** Bytes of memory written or read per millisecond on a busy disk; anything slower counts as hanging. */
const memoryBytesPerMs = 10_000;

/** Additional time for a call that writes or reads a guest's memory. */
export function memoryMs(bytes: number): number {
  return bytes / memoryBytesPerMs;
}

/** Quotes a word for virsh's command line. @throws BAD_USAGE for control characters */
export function quote(word: string): string {
  // A line break would end the command.
  if (/[^\u{20}-\u{7e}\u{80}-\u{10ffff}]/u.test(word)) {
    throw new CowherdError('BAD_USAGE', `${JSON.stringify(word)} has a control character`, { hint: 'Choose a path without one.' });
  }
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
