import { constants } from 'node:fs';
import { link, lstat, open, realpath, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import type { ExportRequest } from '../../ports/bases.js';
import type { ImageTool } from '../../ports/images.js';
import { allocatedBytes, isMissing, storeError } from '../store/files/files.js';

/** Of a file that is being exported. Always the same, so that the next export overwrites what a crash left. */
const partialEnding = '.cowherd-partial';

export async function exportImage(root: string, images: ImageTool, request: ExportRequest): Promise<number> {
  const { base, target, compress, onProgress, signal } = request;
  const partial = `${target.path}${partialEnding}`;
  await finishPlacing(partial, target.path);
  await assertTarget(root, target.path);
  await assertPartial(partial);
  try {
    await makePartial(partial);
    await images.convert({ source: base, target: { path: partial, format: target.format }, compress, onProgress, signal });
    const handle = await open(partial, 'r+');
    await handle.sync();
    await handle.close();
    await place(partial, target.path);
    return allocatedBytes(await lstat(target.path));
  } catch (cause) {
    // Another export to the same file has it open.
    if (!(cause instanceof CowherdError && cause.code === 'BASE_REFUSED')) await rm(partial, { force: true });
    throw storeError(`write ${target.path}`, cause);
  }
}

async function assertTarget(root: string, path: string): Promise<void> {
  if ((await lstat(path).catch(() => undefined)) !== undefined) throw existsError(path);
  const directory = await realpath(dirname(path)).catch((cause: unknown) => {
    if (isMissing(cause))
      throw new CowherdError('FILE_NOT_FOUND', `Directory ${dirname(path)} does not exist`, { hint: 'Create it first.', cause });
    throw storeError(`write ${path}`, cause);
  });
  const store = await realpath(root).catch(() => root);
  if (directory === store || directory.startsWith(`${store}/`)) {
    throw new CowherdError('BAD_USAGE', `${path} is inside the store`, {
      hint: 'The store holds only files that cowherd created. Name a file elsewhere.',
    });
  }
}

/** A file of that name is overwritten, so it must not be a link. */
async function assertPartial(partial: string): Promise<void> {
  const stats = await lstat(partial).catch(() => undefined);
  // A file of another user would keep its owner, who could read the export.
  if (stats === undefined || (stats.isFile() && stats.nlink === 1 && stats.uid === process.getuid?.())) return;
  throw new CowherdError('BAD_USAGE', `Cannot write to ${partial}: it exists, and is not a regular file of this user`, {
    hint: 'cowherd uses it as a temporary file. Remove it, or name another file.',
  });
}

/** Readable by this user only, like the base image; qemu-img would create it world-readable. */
async function makePartial(partial: string): Promise<void> {
  const { O_WRONLY, O_CREAT, O_NOFOLLOW } = constants;
  // Not truncated: another export may be writing to it, which qemu-img detects by its lock.
  const handle = await open(partial, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600);
  try {
    await handle.chmod((await handle.stat()).mode & 0o600);
  } finally {
    await handle.close();
  }
}

/** A run that was killed between the two steps of {@link place} leaves the file with both names. */
async function finishPlacing(partial: string, path: string): Promise<void> {
  const [one, other] = await Promise.all([partial, path].map((name) => lstat(name).catch(() => undefined)));
  if (one?.isFile() && one.nlink === 2 && one.ino === other?.ino && one.dev === other.dev) await rm(partial);
}

/** Gives the file its name, without replacing a file that was created meanwhile. */
async function place(partial: string, path: string): Promise<void> {
  try {
    await link(partial, path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw existsError(path, cause);
    // The file system has no hard links.
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') throw cause;
    return rename(partial, path);
  }
  await rm(partial);
}

function existsError(path: string, cause?: unknown): CowherdError {
  return new CowherdError('BAD_USAGE', `${path} already exists`, { hint: 'Name another file, or remove it first.', cause });
}
