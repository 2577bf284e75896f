import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { lstat, mkdir, realpath, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { CowherdError } from '../core/errors.js';
import type { Segment } from '../core/overlay.js';

/** Bytes that a file takes on disk. */
export function allocatedBytes(stats: { blocks: number | bigint }): number {
  return Number(stats.blocks) * 512;
}

export async function writeJson(path: string, document: unknown): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(document, undefined, 2)}\n`, { mode: 0o644, fsync: true });
}

/** Makes a directory that others may pass through (QEMU runs as a user of its own). */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw storeError(`make the directory ${path}`, cause);
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/** Turns a file system error into one that says what was being done and what helps. */
export function storeError(doing: string, cause: unknown): CowherdError {
  if (cause instanceof CowherdError) return cause;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const hints: Record<string, string> = {
    ENOSPC: 'The disk is full. Free some space ("cowherd report" shows who uses it), then run the command again.',
    EACCES: 'This user may not write there. "cowherd doctor" gives the command that makes a store for you; --store DIR uses another.',
    EPERM: 'This user may not write there. "cowherd doctor" gives the command that makes a store for you; --store DIR uses another.',
    EROFS: 'The file system is read-only. Use --store DIR on another one.',
    EMFILE: 'Too many open files. Raise the limit (ulimit -n), or lower --concurrency.',
  };
  return new CowherdError('STORE_FAILED', `Could not ${doing}: ${cause instanceof Error ? cause.message : String(cause)}`, {
    hint: hints[code] ?? 'Check that directory and its disk.',
    cause,
  });
}

/**
 * Writes an image to a new file, without its zeros. Not synced. Blocks, for some 50 µs: five calls through the thread pool
 * would take three times as long.
 */
export function writeImage(path: string, segments: readonly Segment[], length: number): void {
  const descriptor = openSync(path, 'wx', 0o600);
  try {
    for (const { offset, bytes } of segments) writeSync(descriptor, bytes, 0, bytes.length, offset);
    ftruncateSync(descriptor, length);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Unlinks files inside a directory of the store, and nothing else: a path that leads out of it, by a symbolic link on the way,
 * is refused. What is gone already is fine.
 */
export class Shears {
  readonly #root: string;
  #safeDirectories = new Map<string, Promise<void>>();

  /** @param root the directory that nothing outside of is touched */
  constructor(root: string) {
    this.#root = root;
  }

  async unlink(path: string): Promise<void> {
    const directory = dirname(path);
    let safe = this.#safeDirectories.get(directory);
    if (safe === undefined) {
      safe = this.#verifyInside(directory);
      this.#safeDirectories.set(directory, safe);
    }
    try {
      await safe;
      await unlink(path);
    } catch (cause) {
      if (!isMissing(cause)) throw storeError(`remove ${path}`, cause);
    }
  }

  async #verifyInside(directory: string): Promise<void> {
    const [root, real] = await Promise.all([realpath(this.#root), realpath(directory)]);
    const stats = await lstat(directory);
    if (stats.isSymbolicLink() || (real !== root && !real.startsWith(`${root}/`))) {
      throw new CowherdError('STORE_FAILED', `${directory} leads out of the store`, {
        details: [`it is ${real}`],
        hint: 'cowherd removes nothing outside its store. Put the directory back in place of the link.',
      });
    }
  }
}

export function scratchName(directory: string): string {
  return join(directory, `.fresh-${randomBytes(6).toString('hex')}.qcow2`);
}
