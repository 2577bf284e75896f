import { constants } from 'node:fs';
import { mkdir, open, readdir, rmdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { CowherdError } from '../../../core/errors.js';
import { storeLayout } from '../layout.js';
import { storeError } from './files.js';

/** A file in place of the store or a part of it would look like an empty store. @throws BAD_USAGE, STORE_FAILED */
export async function assertStoreDirectory(root: string): Promise<void> {
  if (await isFile(root)) {
    throw new CowherdError('BAD_USAGE', `The store ${root} is not a directory`, {
      hint: 'Name a directory with --store DIR or COWHERD_STORE, or leave both out.',
    });
  }
  const { bases, fleets, snapshots } = storeLayout(root);
  for (const room of [bases, fleets, snapshots]) {
    if (await isFile(room)) throw new CowherdError('STORE_FAILED', `${room} is not a directory`, { hint: 'Restore the directory.' });
  }
}

/** Whether the path, or a component above it, is a file. Unreadable paths fail later, when they are used. */
async function isFile(path: string): Promise<boolean> {
  try {
    return !(await stat(path)).isDirectory();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOTDIR';
  }
}

/**
 * Creates a directory that others can search (QEMU runs as another user). What root creates in another user's directory
 * belongs to that user; if the group can write to the parent, it can write to the new directory, too.
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await makeLevel(path);
  } catch (cause) {
    throw storeError(`create the directory ${path}`, cause);
  }
}

/** One level at a time, since the owner is changed while the directory is empty. */
async function makeLevel(path: string): Promise<void> {
  if (await isDirectory(path)) return;
  if (path !== dirname(path)) await makeLevel(dirname(path));
  try {
    await mkdir(path, { mode: 0o755 });
  } catch (error) {
    // Another run may have created it.
    if (await isDirectory(path)) return;
    throw error;
  }
  await setRights(path);
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

/**
 * Sets the mode, regardless of the umask, and the owner. Uses open directories: the owner of the parent could replace the
 * new one by a link, and be given another directory.
 */
async function setRights(path: string): Promise<void> {
  // The store itself may be a link.
  const above = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const { uid, mode } = await above.stat();
    const isShared = (mode & 0o020) !== 0;
    const isTheirs = process.getuid?.() === 0 && uid !== 0;
    const made = await open(
      `/proc/self/fd/${above.fd}/${basename(path)}`,
      constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
    );
    try {
      const stats = await made.stat();
      if (isTheirs && stats.uid === 0 && (await readdir(`/proc/self/fd/${made.fd}`)).length === 0) await made.chown(uid, stats.gid);
      const wanted = (stats.mode & 0o7000) | 0o755 | (isShared ? 0o020 : 0);
      if ((stats.mode & 0o7777) !== wanted) await made.chmod(wanted);
    } finally {
      await made.close();
    }
  } finally {
    await above.close();
  }
}

/** The missing components of a path, the deepest first. */
export async function missingLevels(path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let level = path; level !== dirname(level) && !(await isDirectory(level)); level = dirname(level)) missing.push(level);
  return missing;
}

/** Ignores directories that are not empty or do not exist. */
export async function removeEmpty(directories: readonly string[]): Promise<void> {
  for (const directory of directories) await rmdir(directory).catch(() => undefined);
}
