import { lstat, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CowherdError, fullDiskHint } from '../../core/errors.js';
import { temporaryDirectory } from './environment.js';

/** A private directory of this process. Also removes those of killed processes. @throws STORE_FAILED */
export async function makeScratch(): Promise<string> {
  try {
    // The directory may be writable but not readable.
    await sweep().catch(() => undefined);
    return await mkdtemp(join(temporaryDirectory(), `cowherd-${process.pid}-`));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new CowherdError('STORE_FAILED', `Could not create a temporary directory in ${temporaryDirectory()}: ${message}`, {
      hint:
        code === 'ENOSPC' || code === 'EDQUOT'
          ? fullDiskHint
          : 'Set TMPDIR to a directory that exists and that you can write to: TMPDIR=/tmp cowherd ...',
      cause,
    });
  }
}

async function sweep(): Promise<void> {
  for (const name of await readdir(temporaryDirectory())) {
    const pid = /^cowherd-(\d+)-\w{6}$/.exec(name)?.[1];
    if (pid === undefined || (await stat(`/proc/${pid}`).catch(() => undefined)) !== undefined) continue;
    const path = join(temporaryDirectory(), name);
    // Another run may remove them at the same time.
    if ((await lstat(path).catch(() => undefined))?.uid === process.getuid?.())
      await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}
