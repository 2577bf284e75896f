import { homedir } from 'node:os';

/** What bin/run.js and bin/dev.js do: a command's whole life as a process. */
export async function main(options: { dir: string; development?: boolean }): Promise<void> {
  // A user without an entry in passwd, as in a container: libraries look for the home directory as they are loaded.
  try {
    homedir();
  } catch {
    process.env.HOME = '/nonexistent';
  }
  const [{ execute }, { guardStreams }] = await Promise.all([import('@oclif/core'), import('./streams.js')]);
  guardStreams();
  await execute(options);
}
