import { randomBytes } from 'node:crypto';
import { type BigIntStats, closeSync, constants, ftruncateSync, openSync, writeSync } from 'node:fs';
import { type FileHandle, lstat, open, readdir, realpath, rename, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import writeFileAtomic from 'write-file-atomic';
import { formatDuration } from '../../core/duration.js';
import { CowherdError, fullDiskHint } from '../../core/errors.js';
import type { Seal } from '../../core/image/base.js';
import type { Segment } from '../../core/image/overlay.js';
import { denialOf, unreadable } from '../host/denied.js';

/** Bytes that a file takes on disk. */
export function allocatedBytes(stats: { blocks: number | bigint }): number {
  return Number(stats.blocks) * 512;
}

export function sealOf(stats: BigIntStats): Seal {
  return { size: Number(stats.size), mtimeNs: String(stats.mtimeNs), inode: String(stats.ino) };
}

/** New files are renamed into place, and the library that does it would follow a link to what is somebody else's. */
export async function assertNoLink(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats !== undefined && !stats.isFile()) throw notOurs(path, stats);
}

function notOurs(path: string, stats: { isSymbolicLink(): boolean }): CowherdError {
  return new CowherdError(
    'STORE_FAILED',
    `${path} is ${stats.isSymbolicLink() ? 'a link' : 'not a file of its own'}, and cowherd did not make it`,
    {
      hint: 'cowherd reads and writes nothing by way of it. Look where it leads; put back what was there, or remove it.',
    },
  );
}

/**
 * What a guest is started on is given to QEMU's user and written to: it must be there under no other name. What is not there is fine.
 * @throws STORE_FAILED
 */
export async function assertOwn(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats !== undefined && (!stats.isFile() || stats.nlink > 1)) throw notOurs(path, stats);
}

/** Appends to a file of the store: not through a link. */
export async function appendOwn(path: string, text: string): Promise<void> {
  const { O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o644);
  try {
    const stats = await handle.stat();
    if (!stats.isFile() || stats.nlink > 1) throw notOurs(path, stats);
    // New: with its rights, whatever the umask left of them.
    if (stats.size === 0 && stats.uid === process.getuid?.()) await handle.chmod(0o644);
    await handle.appendFile(text);
  } finally {
    await handle.close();
  }
}

/** Opens a file of the store to read it: neither a link nor anything that could block. */
export async function openOwn(path: string): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (cause: NodeJS.ErrnoException) => {
      throw cause.code === 'ELOOP' ? notOurs(path, { isSymbolicLink: () => true }) : cause;
    },
  );
  const stats = await handle.stat();
  if (stats.isFile()) return handle;
  await handle.close();
  throw notOurs(path, stats);
}

export async function readOwn(path: string): Promise<Buffer> {
  const handle = await openOwn(path);
  try {
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** A directory of the store is a directory: what is made in a link goes where it leads. @throws STORE_FAILED */
export async function assertDirectory(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined || stats.isDirectory()) return;
  throw new CowherdError('STORE_FAILED', `${path} is ${stats.isSymbolicLink() ? 'a link' : 'a file'}, not a directory`, {
    hint: 'cowherd changes nothing outside its store. Put the directory back in its place.',
  });
}

/** Durable when it returns: what a record says of later changes must not come to the disk after them. */
export async function writeJson(path: string, document: unknown, mode = 0o644): Promise<void> {
  await replaceFile(path, `${JSON.stringify(document, undefined, 2)}\n`, mode);
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

const temporaryPrefix = '.cowherd-';

/**
 * A file that is renamed when it is whole has such a name until then; a run that was killed leaves it. The library's own temporary
 * names end in a number, as do the copies that people make: these must never be taken for it.
 */
export function isTemporary(name: string): boolean {
  return name.startsWith(temporaryPrefix);
}

async function replaceFile(path: string, data: string | Buffer, mode: number): Promise<void> {
  const staged = join(dirname(path), `${temporaryPrefix}${process.pid}-${basename(path)}`);
  for (const target of [path, staged]) await assertNoLink(target);
  const replaced = await lstat(path).catch(() => undefined);
  try {
    const owner = replaced === undefined ? {} : { chown: { uid: replaced.uid, gid: replaced.gid } };
    await writeFileAtomic(staged, data, { mode, fsync: true, ...owner });
    await rename(staged, path);
  } catch (error) {
    await unlink(staged).catch(() => undefined);
    throw error;
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
  const denial = code === 'EACCES' || code === 'EPERM' ? denialOf(doing, cause) : undefined;
  const mayNot = doing.startsWith('read ')
    ? 'Run the same command as its owner or root (sudo).'
    : 'This user may not write there. "cowherd doctor" gives the command that makes a store for you; --store DIR uses another.';
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
    ENFILE: 'The host has too many files open. Raise fs.file-max (sysctl), or end what holds them.',
    EIO: 'The disk fails, or the file system on it is damaged: see "dmesg".',
  };
  const reason = denial?.reason ?? (cause instanceof Error ? cause.message : String(cause));
  return new CowherdError('STORE_FAILED', `Could not ${doing}: ${reason}`, {
    hint: denial?.hint ?? hints[code] ?? 'Check that directory and its disk.',
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
export class SafeUnlinker {
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
      safe = this.#assertInside(directory);
      this.#safeDirectories.set(directory, safe);
    }
    try {
      await safe;
      await unlink(path);
    } catch (cause) {
      if (!isMissing(cause)) throw storeError(`remove ${path}`, cause);
    }
  }

  async #assertInside(directory: string): Promise<void> {
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
    return (await readOwn(path)).toString('utf8');
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw storeError(`read ${path}`, cause);
  }
}

/** What a person named: read it by {@link readNamedFile} and {@link readNamedBytes}. */
const maxTextBytes = 1024 * 1024;
/** The largest flash that QEMU's machines have. */
const maxBytes = 64 * 1024 * 1024;
const pipeMs = 10_000;

/** Reads a text file that a person named. @throws FILE_NOT_FOUND; BAD_USAGE where it is not a text file, or larger than 1 MiB */
export async function readNamedFile(path: string): Promise<string> {
  const bytes = await readNamed(path, maxTextBytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CowherdError('BAD_USAGE', `${path} is not a text file in UTF-8`, { hint: 'Is it the right file?', cause });
  }
}

/** @throws FILE_NOT_FOUND; BAD_USAGE where it is not a file, or larger than 64 MiB */
export function readNamedBytes(path: string): Promise<Buffer> {
  return readNamed(path, maxBytes);
}

async function readNamed(path: string, limit: number): Promise<Buffer> {
  const refuse = (reason: string): CowherdError => new CowherdError('BAD_USAGE', `${path} ${reason}`, { hint: 'Is it the right file?' });
  // A pipe that nobody writes to would hold the opening for ever.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const stats = await handle.stat();
    // Pipes come of <(command) and of "-f /dev/stdin".
    if (!stats.isFile() && !stats.isFIFO()) throw refuse(`is ${stats.isDirectory() ? 'a directory' : 'a device or socket'}, not a file`);
    const tooLarge = refuse(`is larger than the ${limit / 1024 / 1024} MiB that such a file can have`);
    if (stats.size > limit) throw tooLarge;
    const bytes = Buffer.alloc(stats.isFile() ? stats.size + 1 : limit + 1);
    const deadline = Date.now() + pipeMs;
    for (let length = 0; ; ) {
      const bytesRead = await readSome(handle, bytes, length);
      if (bytesRead === 0) return bytes.subarray(0, length);
      length += bytesRead ?? 0;
      if (length === bytes.length) throw stats.isFile() ? refuse('grows while it is read') : tooLarge;
      if (Date.now() > deadline) throw refuse(`is a pipe that did not end within ${formatDuration(pipeMs)}`);
    }
  } catch (cause) {
    if (cause instanceof CowherdError) throw cause;
    throw unreadable(path, cause);
  } finally {
    await handle.close();
  }
}

/** @returns undefined where a pipe has nothing to give yet */
async function readSome(handle: FileHandle, bytes: Buffer, from: number): Promise<number | undefined> {
  try {
    return (await handle.read(bytes, from, bytes.length - from, null)).bytesRead;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    await setTimeout(20);
    return undefined;
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
  await replaceFile(path, bytes, 0o600).catch((cause: unknown) => {
    throw storeError(`write ${path}`, cause);
  });
}

export async function placeText(path: string, text: string, mode = 0o644): Promise<void> {
  await replaceFile(path, text, mode).catch((cause: unknown) => {
    throw storeError(`write ${path}`, cause);
  });
}
