import { constants } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { CowherdError } from '../../../core/errors.js';
import { isMissing, storeError } from './files.js';

/** A rename replaces a link, and cowherd did not create one. */
export async function assertNoLink(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats !== undefined && !stats.isFile()) throw notOurs(path, stats);
}

function notOurs(path: string, stats: { isSymbolicLink(): boolean }): CowherdError {
  return new CowherdError(
    'STORE_FAILED',
    `${path} is ${stats.isSymbolicLink() ? 'a symbolic link' : 'not a regular file with one link'}, and cowherd did not create it`,
    {
      hint: 'cowherd does not follow it. Check where it points; restore the original file, or remove it.',
    },
  );
}

/**
 * The disk of a guest is given to QEMU's user and written to, so it must have only one link. A missing file is fine.
 * @throws STORE_FAILED
 */
export async function assertOwn(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats !== undefined && (!stats.isFile() || stats.nlink > 1)) throw notOurs(path, stats);
}

/** Appends to a file of the store, without following a link. */
export async function appendOwn(path: string, text: string): Promise<void> {
  const { O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o644);
  try {
    const stats = await handle.stat();
    if (!stats.isFile() || stats.nlink > 1) throw notOurs(path, stats);
    // A new file gets its mode regardless of the umask.
    if (stats.size === 0 && stats.uid === process.getuid?.()) await handle.chmod(0o644);
    await handle.appendFile(text);
  } finally {
    await handle.close();
  }
}

/** Opens a file of the store for reading, unless it is a link or could block. */
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

/** A directory of the store must not be a link, since files would be created at its target. @throws STORE_FAILED */
export async function assertDirectory(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined || stats.isDirectory()) return;
  throw new CowherdError('STORE_FAILED', `${path} is ${stats.isSymbolicLink() ? 'a link' : 'a file'}, not a directory`, {
    hint: 'cowherd does not change files outside its store. Restore the directory.',
  });
}

export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return (await readOwn(path)).toString('utf8');
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw storeError(`read ${path}`, cause);
  }
}
