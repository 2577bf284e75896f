import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { bin, type Lab, until } from '../lab.js';

/** Runs a command with broken standard streams, each in a bash that saves the exit code. */
export const streams = {
  /** Nothing can be written or read, and the working directory is deleted. */
  full: 'cd "$(mktemp -d)" && rmdir "$PWD" && exec "$@" <&- >/dev/full 2>/dev/full',
  /** The reader of the results exits after one line, and the other two streams are closed. */
  head: '"$@" <&- 2>&- | head -1; exit $PIPESTATUS',
  /** The reader of progress has exited, and there is no standard output. */
  unread: '"$@" 2>&1 >&- | true; exit $PIPESTATUS',
  /** Only results cannot be written. */
  results: 'exec "$@" >/dev/full',
} as const;
export type Streams = keyof typeof streams;

export async function withStreams(lab: Lab, how: Streams, words: readonly string[]): Promise<{ exitCode: number; output: string }> {
  const { exitCode = -1, all } = await execa('bash', ['-c', streams[how], 'bash', process.execPath, bin, ...words], {
    env: lab.env,
    all: true,
    reject: false,
  });
  return { exitCode, output: all };
}

/**
 * Runs cowherd in a terminal that closes when its screen shows a text, like a lost ssh connection.
 * @param when condition to wait for after the first line on the screen
 * @returns the exit code, or 128 and the signal
 */
export async function inVanishingTerminal(
  lab: Lab,
  words: readonly string[],
  when: (screen: string) => Promise<boolean> | boolean,
): Promise<number> {
  const name = join(lab.scratch, `terminal-${words.join('-').replaceAll(/\W/g, '')}`);
  // The session leader dies of the hang-up, so the kernel signals all others; the process in between survives and saves the exit code.
  const between = `trap "" HUP; "$@"; echo $? >${name}.exit`;
  const command = ['sh', '-c', between, 'sh', process.execPath, bin, ...words]
    .map((word) => `'${word.replaceAll("'", "'\\''")}'`)
    .join(' ');
  await (await open(`${name}.screen`, 'w')).close();
  const terminal = execa('script', ['-qfc', `${command}; true`, `${name}.screen`], {
    env: { ...lab.env, SHELL: '/bin/sh' },
    stdin: 'pipe',
    stdout: 'ignore',
    reject: false,
  });
  await until(`cowherd ${words[0]} to begin`, async () => when(await readFile(`${name}.screen`, 'utf8')));
  terminal.kill('SIGKILL');
  await terminal;
  const exitCode = (): Promise<string> => readFile(`${name}.exit`, 'utf8').catch(() => '');
  await until(`cowherd ${words[0]} to end`, async () => (await exitCode()).endsWith('\n'));
  const code = Number(await exitCode());
  await rm(`${name}.screen`);
  return code;
}
