import { CowherdError, fullDiskHint } from '../core/errors.js';

export const leftAtOnce =
  'Left at once. What had begun is noted: "cowherd list" says where something is unfinished, "cowherd resume FLEET" finishes it.';

export function interrupted(): CowherdError {
  return new CowherdError('INTERRUPTED', 'Interrupted', {
    hint: 'Run the same command again; what was done is kept. If something is unfinished, it says how to go on.',
  });
}

/** Faults of the machine that may come up wherever a file is touched. */
export const hostFaults = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EMFILE', 'ENFILE', 'ENOMEM']);

export function noDirectory(cause: Error): CowherdError {
  return new CowherdError('FILE_NOT_FOUND', 'The working directory is not there any more, and a relative path was to be looked for in it', {
    hint: 'Change to a directory that exists (cd ~), or give absolute paths, also in COWHERD_STORE. Then run the command again.',
    cause,
  });
}

export function hostError(error: Error & { code?: string }): CowherdError {
  return new CowherdError('STORE_FAILED', `This host failed: ${error.message}`, {
    hint:
      error.code === 'ENOSPC' || error.code === 'EDQUOT'
        ? `${fullDiskHint} Is there room in the directory for temporary files, too?`
        : error.code?.endsWith('FILE')
          ? 'Too many files are open: raise the limit (ulimit -n 1024), or lower --concurrency.'
          : 'Check its disks and file systems: "dmesg" and "mount" tell.',
    cause: error,
  });
}
