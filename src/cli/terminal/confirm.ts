import { createInterface } from 'node:readline/promises';
import { isatty } from 'node:tty';
import { CowherdError } from '../../core/errors.js';
import { escapeUnsafe } from '../../core/guest/text.js';

/**
 * Asks a yes-or-no question on the terminal; anything but y or yes is no, and so are Ctrl-D and a terminal that vanishes.
 * @throws AbortError on Ctrl-C, and where the signal is aborted
 */
export async function confirm(question: string, signal?: AbortSignal): Promise<boolean> {
  const { stdin, stderr } = process;
  const interruption = new AbortController();
  const terminal = createInterface({ input: stdin, output: stderr });
  // Readline passes on what its input says: of a terminal that vanishes, when it is read and when it is set back.
  terminal.on('error', () => undefined);
  terminal.once('error', () => terminal.close());
  // The terminal is in raw mode: no signal comes of Ctrl-C.
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

/** As {@link confirm}. @throws CANCELED where the answer is no */
export async function confirmed(question: string, signal?: AbortSignal): Promise<void> {
  if (!(await confirm(question, signal))) throw new CowherdError('CANCELED', 'Canceled.');
}

export function isTerminal(): boolean {
  return isatty(0) && isatty(2);
}
