import { createInterface } from 'node:readline/promises';
import { isatty } from 'node:tty';
import { CowherdError } from '../../core/errors.js';
import { escapeUnsafe } from '../../core/guest/text.js';

/**
 * Asks a yes-or-no question on the terminal. Anything but y or yes means no, including Ctrl-D and a closed terminal.
 * @throws AbortError on Ctrl-C, and if the signal is aborted
 */
async function confirm(question: string, signal?: AbortSignal): Promise<boolean> {
  const { stdin, stderr } = process;
  const interruption = new AbortController();
  const terminal = createInterface({ input: stdin, output: stderr });
  // Readline forwards errors of its input: a closed terminal causes one when it is read and one when it is reset.
  terminal.on('error', () => undefined);
  terminal.once('error', () => terminal.close());
  // In raw mode, Ctrl-C does not send a signal.
  terminal.once('SIGINT', () => interruption.abort());
  try {
    const closed = new Promise<string>((resolve) => void terminal.once('close', () => resolve('')));
    const asked = terminal.question(`${escapeUnsafe(question)} [y/N] `, {
      signal: AbortSignal.any([interruption.signal, ...(signal ? [signal] : [])]),
    });
    return /^y(es)?$/i.test((await Promise.race([asked, closed])).trim());
  } finally {
    terminal.close();
  }
}

/** Like {@link confirm}. @throws CANCELED if the answer is no */
export async function confirmed(question: string, signal?: AbortSignal): Promise<void> {
  if (!(await confirm(question, signal))) throw new CowherdError('CANCELED', 'Canceled.');
}

export function isTerminal(): boolean {
  return isatty(0) && isatty(2);
}
