import { lstat, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A private directory of this process. Those of processes that were killed are swept on the way. */
export async function makeScratch(): Promise<string> {
  for (const name of await readdir(tmpdir())) {
    const pid = /^cowherd-(\d+)-\w{6}$/.exec(name)?.[1];
    if (pid === undefined || (await stat(`/proc/${pid}`).catch(() => undefined)) !== undefined) continue;
    const path = join(tmpdir(), name);
    if ((await lstat(path).catch(() => undefined))?.uid === process.getuid?.()) await rm(path, { recursive: true, force: true });
  }
  return mkdtemp(join(tmpdir(), `cowherd-${process.pid}-`));
}
