import { homedir } from 'node:os';
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
  const { execute, handle, run } = await import('@oclif/core');
  // oclif throws what stdout tells of.
  for (const listener of process.stdout.rawListeners('error') as Array<() => void>)
    if (!listeners.includes(listener)) process.stdout.off('error', listener);
  if (options.development === true) return void (await execute(options));
  // Not by execute: it writes once more to stdout in the end, and for a verb that says nothing that may be the write that fails.
  await run(process.argv.slice(2), options.dir).catch(handle);
}
