import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { exitCodeOf } from '../core/errors.js';
import { renderError } from './render/errors.js';

/**
 * What becomes of output that cannot be written. Progress is dropped: a log on a full disk must not stop work halfway. Results that
 * are lost are an error once the work is done; a reader that has read enough (`| head -1`) is none.
 */

const gone = new AbortController();

/** Aborted when stdout takes nothing any more: verbs that go on for the sake of their output alone end then. */
export const outputGone: AbortSignal = gone.signal;

/** To be called once by the process that runs a command, before anything is written. */
export function guardStreams(): void {
  const terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));
  let lost: NodeJS.ErrnoException | undefined;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A terminal that has vanished has no reader either.
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
    hint: 'The work itself was not affected. Make room where the output goes, or send it elsewhere. "cowherd status FLEET" shows how a fleet is; a command that only shows something can be run again.',
  };
  process.stderr.write(`${renderError(report)}\n`);
}

/** Node sets terminals back to how they were as it exits, and crashes where one has vanished; it leaves alone what is none any more. */
function releaseVanished(terminals: readonly number[]): void {
  for (const descriptor of terminals.filter((number) => !isatty(number))) {
    closeSync(descriptor);
    openSync('/dev/null', 'r+');
  }
}
