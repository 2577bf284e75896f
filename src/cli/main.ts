import { homedir } from 'node:os';
import type { Config } from '@oclif/core';
import { separateGuestCommand } from './guest-command.js';
import { guardStreams } from './streams.js';

/** What bin/run.js and bin/dev.js do: a command's whole life as a process. */
export async function main(options: { dir: string; development?: boolean }): Promise<void> {
  // A user without an entry in passwd, as in a container: libraries look for the home directory as they are loaded.
  try {
    homedir();
  } catch {
    process.env.HOME = '/nonexistent';
  }
  guardStreams();
  const listeners = process.stdout.listeners('error');
  const { Config, execute, handle, run } = await import('@oclif/core');
  // oclif throws what stdout tells of.
  for (const listener of process.stdout.rawListeners('error') as Array<() => void>)
    if (!listeners.includes(listener)) process.stdout.off('error', listener);
  if (options.development === true) return void (await execute(options));
  const config = await Config.load(options.dir);
  // Not by execute: it writes once more to stdout in the end, and for a verb that says nothing that may be the write that fails.
  await run(wordsOf(process.argv.slice(2), config), config).catch(async (error: Error) => {
    // Of help, which does not ask the hook.
    const unknown = /^Command (.+) not found\.$/.exec(error.message)?.[1];
    if (unknown === undefined) await handle(error);
    else await config.runHook('command_not_found', { id: unknown.replaceAll(' ', ':'), argv: [] });
  });
}

/** What was typed, with `--` before a command for a guest: oclif looks for --help before any command does. */
function wordsOf(words: readonly string[], config: Config): string[] {
  const [first = '', ...rest] = words;
  if (first !== 'ssh') return [...words];
  return [first, ...separateGuestCommand(rest, Object.values(config.findCommand(first)?.flags ?? {}))];
}
