import { randomBytes } from 'node:crypto';
import { type BigIntStats, closeSync, constants, ftruncateSync, openSync, writeSync } from 'node:fs';
import { lstat, mkdir, open, readdir, readFile, realpath, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import type { Seal } from '../core/base.js';
import { CowherdError } from '../core/errors.js';
import type { Segment } from '../core/overlay.js';

/** Bytes that a file takes on disk. */
export function allocatedBytes(stats: { blocks: number | bigint }): number {
  return Number(stats.blocks) * 512;
}

export function sealOf(stats: BigIntStats): Seal {
  return { size: Number(stats.size), mtimeNs: String(stats.mtimeNs), inode: String(stats.ino) };
}

/** Durable when it returns: what a record says of later changes must not come to the disk after them. */
export async function writeJson(path: string, document: unknown, mode = 0o644): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(document, undefined, 2)}\n`, { mode, fsync: true });
  await syncDirectory(dirname(path));
}

/** With this the names in a directory survive a power cut, and not the files' content alone. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A file that is renamed when it is whole has such a name until then; a run that was killed leaves it. */
export function isTemporary(name: string): boolean {
  return /\.\d+$/.test(name);
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
  if (cause instanceof Error && cause.name === 'AbortError') return new CowherdError('INTERRUPTED', `Interrupted while trying to ${doing}`);
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
 * Writes an image to a new file, without its zeros. Not synced. Blocks for the few calls that it takes: through the
 * thread pool a thousand files took twice as long.
 */
export function writeImage(path: string, segments: readonly Segment[], length: number): void {
  const descriptor = openSync(path, 'wx', 0o600);
  try {
    for (const { offset, bytes } of segments) {
      // A disk that fills may take part of it.
      for (let written = 0; written < bytes.length; )
        written += writeSync(descriptor, bytes, written, bytes.length - written, offset + written);
    }
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

export async function listDirectory(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    if (isMissing(cause)) return [];
    throw storeError(`read the directory ${path}`, cause);
  }
}

export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw storeError(`read ${path}`, cause);
  }
}

/** Reads a text file that a person named. @throws FILE_NOT_FOUND */
export async function readNamedFile(path: string): Promise<string> {
  return (await readNamedBytes(path)).toString('utf8');
}

/** @throws FILE_NOT_FOUND */
export async function readNamedBytes(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new CowherdError('FILE_NOT_FOUND', `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'Check the path and its permissions.',
      cause,
    });
  }
}

/** Writes a file that a person named. @throws BAD_USAGE where it exists */
export async function writeNewFile(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new CowherdError('BAD_USAGE', `${path} exists already`, { hint: 'Name another file, or remove it first.', cause });
    }
    throw storeError(`write ${path}`, cause);
  }
}

/** For this user alone until libvirt gives it to QEMU's. */
export async function placeBytes(path: string, bytes: Buffer): Promise<void> {
  await writeFileAtomic(path, bytes, { mode: 0o600 }).catch((cause: unknown) => {
    throw storeError(`write ${path}`, cause);
  });
}

export async function placeText(path: string, text: string, mode = 0o644): Promise<void> {
  await writeFileAtomic(path, text, { mode }).catch((cause: unknown) => {
    throw storeError(`write ${path}`, cause);
  });
}
