import { constants } from 'node:fs';
import { lstat, open, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { CowherdError } from '../../core/errors.js';
import { isMissing, storeError } from '../store/files/files.js';

/**
 * Writes a file that the user named. A mistyped name must not replace a disk image or a document, so an existing file is only replaced if it
 * is a regular file that begins with the same text, or is empty. A reader sees the old or the new file, never a part.
 */
export async function replaceOwnFile(path: string, text: string, { begins, store }: { begins: string; store: string }): Promise<void> {
  const directory = await directoryOf(path);
  const root = await realpath(store).catch(() => store);
  if (directory === root || directory.startsWith(`${root}/`)) {
    throw new CowherdError('BAD_USAGE', `${path} is inside the store`, {
      hint: 'The store holds only files that cowherd created. Name a file elsewhere.',
    });
  }
  // A link in the directory's path is followed, but not one at its end: that is a file of another name.
  const target = join(directory, basename(path));
  await assertReplaceable(path, target, begins);
  await writeFileAtomic(target, text).catch((cause: unknown) => {
    throw writeError(path, cause);
  });
}

async function directoryOf(path: string): Promise<string> {
  try {
    return await realpath(dirname(path));
  } catch (cause) {
    if (isMissing(cause))
      throw new CowherdError('FILE_NOT_FOUND', `Directory ${dirname(path)} does not exist`, { hint: 'Create it first.', cause });
    throw writeError(path, cause);
  }
}

async function assertReplaceable(path: string, target: string, begins: string): Promise<void> {
  const refuse = (why: string): CowherdError =>
    new CowherdError('BAD_USAGE', `${path} exists, and is ${why}`, { hint: 'Name another file, or remove it first.' });
  const stats = await lstat(target).catch((cause: unknown) => {
    if (isMissing(cause)) return undefined;
    throw writeError(path, cause);
  });
  if (stats === undefined) return;
  if (!stats.isFile()) throw refuse('not a regular file');
  if (stats.size > 0 && !(await beginsWith(target, begins))) throw refuse('not an earlier report');
}

async function beginsWith(path: string, text: string): Promise<boolean> {
  // Not a link or a pipe that has replaced it meanwhile.
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw writeError(path, cause);
  });
  try {
    const expected = Buffer.from(text);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(expected.length), 0, expected.length, 0);
    return bytesRead === expected.length && buffer.equals(expected);
  } finally {
    await handle.close();
  }
}

function writeError(path: string, cause: unknown): CowherdError {
  const { code } = cause as NodeJS.ErrnoException;
  // The hints about the store would be wrong here.
  if (code !== 'EACCES' && code !== 'EROFS') return storeError(`write ${path}`, cause);
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CowherdError('STORE_FAILED', `Could not write ${path}: ${reason}`, {
    hint: 'Name a file in a directory that you may write to.',
    cause,
  });
}
