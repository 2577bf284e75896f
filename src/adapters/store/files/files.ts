import type { BigIntStats } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { CowherdError, fullDiskHint } from '../../../core/errors.js';
import type { Seal } from '../../../core/image/base.js';
import { denialOf } from '../../host/denied.js';

/** Bytes that a file uses on disk. */
export function allocatedBytes(stats: { blocks: number | bigint }): number {
  return Number(stats.blocks) * 512;
}

export function sealOf(stats: BigIntStats): Seal {
  return { size: Number(stats.size), mtimeNs: String(stats.mtimeNs), inode: String(stats.ino) };
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/** Turns a file system error into one with the operation and a hint. */
export function storeError(doing: string, cause: unknown): CowherdError {
  if (cause instanceof CowherdError) return cause;
  if (cause instanceof Error && cause.name === 'AbortError') return new CowherdError('INTERRUPTED', `Interrupted while trying to ${doing}`);
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const denial = code === 'EACCES' || code === 'EPERM' ? denialOf(doing, cause) : undefined;
  const mayNot = doing.startsWith('read ')
    ? 'Run the same command as its owner or root (sudo).'
    : 'This user may not write there. "cowherd doctor" prints the command that creates a store for you; --store DIR uses another one.';
  const hints: Record<string, string> = {
    ENOSPC: fullDiskHint,
    EDQUOT: 'The disk quota of this user is used up. Free some space, or have it raised, then run the command again.',
    EACCES: mayNot,
    EPERM: mayNot,
    ENOENT: 'That directory does not exist. Create it, or name another one.',
    EROFS: 'The file system is read-only. Use --store DIR on another one.',
    EISDIR: 'A directory has that name. Move it away, then run the command again.',
    ENOTEMPTY: 'A directory has that name. Move it away, then run the command again.',
    EMFILE: 'Too many open files. Raise the limit (ulimit -n 1024), or lower --concurrency.',
    ENFILE: 'The host has too many files open. Raise fs.file-max (sysctl), or stop the processes that hold them.',
    EIO: 'The disk is failing, or its file system is damaged: see "dmesg".',
  };
  const reason = denial?.reason ?? (cause instanceof Error ? cause.message : String(cause));
  return new CowherdError('STORE_FAILED', `Could not ${doing}: ${reason}`, {
    hint: denial?.hint ?? hints[code] ?? 'Check that directory and its disk.',
    cause,
  });
}

export async function listDirectory(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    if (isMissing(cause)) return [];
    throw storeError(`read the directory ${path}`, cause);
  }
}
