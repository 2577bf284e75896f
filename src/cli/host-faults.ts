import { CowherdError, fullDiskHint } from '../core/errors.js';

export const leftAtOnce =
  'Quit before all steps were finished. "cowherd list" shows unfinished fleets, "cowherd resume FLEET" finishes one.';

export function interrupted(): CowherdError {
  return new CowherdError('INTERRUPTED', 'Interrupted');
}

/** Faults of the host that any file operation may report. */
export const hostFaults = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EMFILE', 'ENFILE', 'ENOMEM']);

export function noDirectory(cause: Error): CowherdError {
  return new CowherdError('FILE_NOT_FOUND', 'The working directory no longer exists, so a relative path cannot be resolved', {
    hint: 'Change to an existing directory (cd ~), or use absolute paths, also in COWHERD_STORE. Then run the command again.',
    cause,
  });
}

export function hostError(error: Error & { code?: string }): CowherdError {
  return new CowherdError('STORE_FAILED', `System error on this host: ${error.message}`, {
    hint:
      error.code === 'ENOSPC' || error.code === 'EDQUOT'
        ? `${fullDiskHint} Also check the space in the directory for temporary files.`
        : error.code?.endsWith('FILE')
          ? 'Too many open files: raise the limit (ulimit -n 1024), or lower --concurrency.'
          : 'Check its disks and file systems with "dmesg" and "mount".',
    cause: error,
  });
}
