import { randomBytes } from 'node:crypto';
import { closeSync, constants, ftruncateSync, openSync, writeSync } from 'node:fs';
import { lstat, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Segment } from '../../../core/image/overlay.js';
import { storeError } from './files.js';
import { assertNoLink } from './own-files.js';

/** Durable when it returns: a record must reach the disk before the changes that it describes. */
export async function writeJson(path: string, document: unknown, mode = 0o644): Promise<void> {
  await replaceFile(path, `${JSON.stringify(document, undefined, 2)}\n`, mode);
  await syncDirectory(dirname(path));
}

/** Syncs a directory, so that file names survive a power failure, too. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Of what {@link temporaryOf} returns, without the directory. Copies that users make must not be mistaken for it. */
export const temporaryName = /^\.cowherd-[0-9a-f]+-[^/]+$/;

/** Where a file is until it is complete and renamed; a killed run leaves it behind. */
export function temporaryOf(path: string): string {
  return join(dirname(path), `.cowherd-${randomBytes(6).toString('hex')}-${basename(path)}`);
}

export function isTemporary(name: string): boolean {
  return temporaryName.test(name);
}

/** Replaces a file by a complete and synced one of the same owner. */
async function replaceFile(path: string, data: string | Buffer, mode: number): Promise<void> {
  await assertNoLink(path);
  const staged = temporaryOf(path);
  const replaced = await lstat(path).catch(() => undefined);
  try {
    const handle = await open(staged, 'wx', 0o600);
    try {
      if (replaced !== undefined) await handle.chown(replaced.uid, replaced.gid).catch(unlessRoot);
      await handle.writeFile(data);
      // Independent of the umask.
      await handle.chmod(mode);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(staged, path);
  } catch (error) {
    await unlink(staged).catch(() => undefined);
    throw error;
  }
}

/** Only root can give a file to another user. */
function unlessRoot(cause: NodeJS.ErrnoException): void {
  if (!['EPERM', 'EINVAL'].includes(cause.code ?? '') || process.getuid?.() === 0) throw cause;
}

/**
 * Writes a sparse image to a new file. Not synced. Synchronous: through the
 * thread pool, a thousand files took twice as long.
 */
export function writeImage(path: string, segments: readonly Segment[], length: number): void {
  const descriptor = openSync(path, 'wx', 0o600);
  try {
    for (const { offset, bytes } of segments) {
      // On a full disk, a write may be partial.
      for (let written = 0; written < bytes.length; )
        written += writeSync(descriptor, bytes, written, bytes.length - written, offset + written);
    }
    ftruncateSync(descriptor, length);
  } finally {
    closeSync(descriptor);
  }
}

export function scratchName(directory: string): string {
  return join(directory, `.fresh-${randomBytes(6).toString('hex')}.qcow2`);
}

/** Readable by this user only, until libvirt gives it to QEMU's user. */
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
