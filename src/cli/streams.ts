import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { exitCodeOf } from '../core/errors.js';
import { renderError } from './render/errors.js';

/**
 * Handles output that cannot be written. Lost progress is ignored: a log on a full disk must not stop the work. Lost results are an
 * error once the work is done, unless the reader closed the pipe (`| head -1`).
 */

const gone = new AbortController();

/** Aborted when stdout can no longer be written: commands that only produce output then end. */
export const outputGone: AbortSignal = gone.signal;

/** Call it once, before anything is written. */
export function guardStreams(): void {
  const terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));
  let lost: NodeJS.ErrnoException | undefined;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A closed terminal has no reader either.
    const isVanished = terminals.includes(1) && !isatty(1);
    if (error.code !== 'EPIPE' && !isVanished) lost ??= error;
    gone.abort();
  });
  process.stderr.on('error', () => undefined);
  process.on('exit', () => {
    if (lost !== undefined) tellLoss(lost);
    releaseVanished(terminals);
  });
}

function tellLoss({ message }: NodeJS.ErrnoException): void {
  process.exitCode = Math.max(Number(process.exitCode ?? 0), exitCodeOf.OUTPUT_FAILED);
  const report = {
    code: 'OUTPUT_FAILED',
    message: `The output could not be written: ${message}`,
    hint: 'The work itself was not affected. Free space at the destination of the output, or redirect it elsewhere. "cowherd status FLEET" shows the state of a fleet; commands that only show something can be run again.',
  };
  process.stderr.write(`${renderError(report)}\n`);
}

/** At exit, Node.js restores terminal settings, and crashes if a terminal has been closed. It skips descriptors that are not terminals. */
function releaseVanished(terminals: readonly number[]): void {
  for (const descriptor of terminals.filter((number) => !isatty(number))) {
    closeSync(descriptor);
    openSync('/dev/null', 'r+');
  }
}
