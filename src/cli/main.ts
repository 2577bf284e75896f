import { homedir, userInfo } from 'node:os';
import type { Config } from '@oclif/core';
import { reportEarly } from './early-errors.js';
import { separateGuestCommand } from './guest-command.js';
import { hostError, hostFaults } from './host-faults.js';
import { withoutLeadingFlags } from './leading-flags.js';
import { guardStreams } from './streams.js';

/** The entry point of bin/run.js and bin/dev.js. */
export async function main(options: { dir: string; development?: boolean }): Promise<void> {
  assumeUser();
  guardStreams();
  const listeners = process.stdout.listeners('error');
  const { Config, execute, handle, run, settings } = await import('./oclif.js');
  // oclif would throw errors of stdout.
  for (const listener of process.stdout.rawListeners('error') as Array<() => void>)
    if (!listeners.includes(listener)) process.stdout.off('error', listener);
  if (options.development === true) return void (await execute(options));
  // With NODE_ENV=test or development, oclif would look for a TypeScript compiler to run the sources.
  settings.enableAutoTranspile = false;
  const config = await Config.load(options.dir);
  // Not with execute(): it writes to stdout at the end, and for a command without output that write may fail.
  await run(wordsOf(process.argv.slice(2), config), config).catch(async (error: Error & { code?: string }) => {
    // A module of the command could not be loaded.
    if (hostFaults.has(error.code ?? '')) return reportEarly(hostError(error), process.argv.slice(2));
    // From help, which does not call the hook.
    const unknown = /^Command (.+) not found\.$/.exec(error.message)?.[1];
    if (unknown === undefined) await handle(error);
    else await config.runHook('command_not_found', { id: unknown.replaceAll(' ', ':'), argv: [] });
  });
}

/** In a container the user may have no passwd entry, but libraries look up its home directory and its shell when they are loaded. */
function assumeUser(): void {
  try {
    homedir();
  } catch {
    process.env.HOME = '/nonexistent';
  }
  try {
    userInfo();
  } catch {
    process.env.SHELL ??= '/bin/sh';
  }
}

/** The command line, with `--` before a command for a guest: oclif looks for --help before the command runs. */
function wordsOf(given: readonly string[], config: Config): string[] {
  const words = withoutLeadingFlags(given, (id) => config.findCommand(id) !== undefined);
  const [first = '', ...rest] = words;
  if (first !== 'ssh') return words;
  return [first, ...separateGuestCommand(rest, Object.values(config.findCommand(first)?.flags ?? {}))];
}
