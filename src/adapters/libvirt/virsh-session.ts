import { randomBytes } from 'node:crypto';
import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import { type InteractiveProcess, openTool } from '../process.js';

/**
 * One virsh that is kept open and fed through its standard input: a connection that costs 20 ms once instead of per call.
 *
 * virsh reads such input with readline, which writes a prompt and each command back to stdout, and it goes on after a failing
 * command. So every command is fenced by `echo` on both streams. The fences are written with quotes inside the word, which
 * the read-back shows and the output does not: the two cannot be taken for each other.
 */

export interface Reply {
  stdout: string;
  /** What virsh said on stderr, without its leading `error: `; empty on success. */
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
  /** Guests have a say in what is answered: they must not be able to end an answer. */
  readonly #nonce = randomBytes(16).toString('hex');
  readonly #timeoutMs: number;

  constructor(uri: string, options: { env: Record<string, string | undefined>; timeoutMs: number; inherit: number[] }) {
    this.#timeoutMs = options.timeoutMs;
    this.#conversation = openTool('virsh', ['-q', '-c', uri], {
      // readline would fold long lines at the width of a terminal that is not there.
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
      // Whatever it said: there may be no virsh in it.
      const said = complaint(this.#stderr) || this.#stderr.trim();
      this.#end(
        error ??
          new CowherdError('CONNECTION_FAILED', `The connection to libvirt ended${said === '' ? '' : `: ${said.split('\n')[0]}`}`, {
            details: said.split('\n').slice(1, 5),
            hint: 'Is libvirtd running? Try "virsh uri", and "cowherd doctor".',
          }),
      );
    });
  }

  get isUsable(): boolean {
    return this.#ended === undefined;
  }

  /**
   * Runs one command. Several may be under way; virsh answers them in order.
   * @param command one line in virsh's own quoting; see {@link quote}
   * @param moreMs how much longer than other commands it may take
   * @throws CONNECTION_FAILED, TOOL_MISSING, TOOL_TIMEOUT (the session is of no use after it)
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

  /** Ends virsh without its farewell: it would write its history of commands on the way out. */
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
      this.#end(new CowherdError('TOOL_FAILED', `virsh gave more than ${maxReplyBytes} bytes in one answer`));
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

  /** What it says of domains would be misread: that one is not found, say. */
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

/** What libvirt's client library logs on the same stream, e.g. `2026-01-01 00:00:00.000+0000: 1: warning : …`, is no failure. */
const logLine = /^\d{4}-\d\d-\d\d [\d:.+]+: \d+: (debug|info|warning|error) : .*\n?/gm;

/** virsh begins each failure with `error: `. What stands before the first are warnings, of whatever library. */
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

/** Bytes of memory that are written or read in a millisecond, with others at the same disk: slower is taken for hanging. */
const memoryBytesPerMs = 10_000;

/** How much longer than others a call may take that writes or reads a guest's memory. */
export function memoryMs(bytes: number): number {
  return bytes / memoryBytesPerMs;
}

/** Quotes a word for virsh's command line. @throws BAD_USAGE for what no line can carry */
export function quote(word: string): string {
  // A line break would end the command.
  if (/[^\u{20}-\u{7e}\u{80}-\u{10ffff}]/u.test(word)) {
    throw new CowherdError('BAD_USAGE', `${JSON.stringify(word)} has a control character`, { hint: 'Choose a path without one.' });
  }
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
