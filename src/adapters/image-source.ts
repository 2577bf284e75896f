import { type BigIntStats, constants } from 'node:fs';
import { copyFile, open, rm, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import prettyBytes from 'pretty-bytes';
import { CowherdError, fullDiskHint } from '../core/errors.js';
import { imageFormat, parseQcow2Header, verifyImportable } from '../core/qcow2-header.js';
import type { ImageTool, ImportRequest, ImportResult } from '../ports.js';
import { isMissing, storeError } from './files.js';
import { hashAndCopy, hashFile, readHead } from './image-files.js';

/** The files that base images are made of: which one it is, whether it may become one, and copies of it. */

export async function identify(path: string): Promise<{ stats: BigIntStats; fingerprint: string }> {
  try {
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) throw new CowherdError('BASE_REFUSED', `${path} is not a file`, { hint: 'A base image is a qcow2 or raw file.' });
    if (stats.size === 0n) throw new CowherdError('BASE_REFUSED', `${path} is empty`, { hint: 'A base image needs a disk to share.' });
    // With ctime, which no user can set: the same words mean the same bytes.
    return { stats, fingerprint: [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(':') };
  } catch (cause) {
    if (isMissing(cause)) throw new CowherdError('FILE_NOT_FOUND', `There is no file ${path}`, { hint: 'Check the path.', cause });
    throw storeError(`read ${path}`, cause);
  }
}

/** All that can be known without copying. @throws BASE_REFUSED */
export async function inspect(
  images: ImageTool,
  path: string,
  request: ImportRequest,
): Promise<{ format: 'qcow2' | 'raw'; warning: string | undefined }> {
  const head = await readHead(path);
  const format = imageFormat(path, head, request.format);
  if (format === 'raw') {
    // So that a writer that has it open is found.
    await images.info(path, 'raw');
    return { format, warning: undefined };
  }
  // Before any tool opens it: opening follows the names in the header.
  verifyImportable(path, parseQcow2Header(path, head), request.trustChain);
  await images.info(path, 'qcow2');
  return { format, warning: await images.check(path, request.signal) };
}

/** @throws BASE_REFUSED */
export async function verifyUnchanged(path: string, fingerprint: string, verb: string): Promise<void> {
  if ((await identify(path)).fingerprint === fingerprint) return;
  throw new CowherdError('BASE_REFUSED', `${path} changed while it was ${verb}`, {
    hint: 'Shut down what writes to it, then try again.',
  });
}

export async function copyInto(
  images: ImageTool,
  { path, format, stats, request }: { path: string; format: 'qcow2' | 'raw'; stats: BigIntStats; request: ImportRequest },
  partial: string,
): Promise<{ how: ImportResult['how']; digest: string }> {
  const { onProgress, signal, trustChain } = request;
  if (trustChain && format === 'qcow2' && hasChain(parseQcow2Header(path, await readHead(path)))) {
    const totalBytes = Number(stats.size);
    await images.convert({
      source: { path, format },
      target: { path: partial, format: 'qcow2' },
      onProgress: (percent) => onProgress?.({ doneBytes: (totalBytes * percent) / 100, totalBytes }),
      signal,
    });
    return { how: 'flattened', digest: await hashFile(partial, undefined, signal) };
  }
  const reflinked = await copyFile(path, partial, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL).then(
    () => true,
    () => false,
  );
  if (reflinked) return { how: 'reflinked', digest: await hashFile(partial, onProgress, signal) };
  await rm(partial, { force: true });
  await verifyFits(path, Number(stats.blocks) * 512, partial);
  const [from, to] = [await open(path, 'r'), await open(partial, 'wx', 0o600)];
  try {
    return { how: 'copied', digest: await hashAndCopy(from, to, onProgress, signal) };
  } finally {
    await Promise.all([from.close(), to.close()]);
  }
}

/** Found out before gigabytes are copied. @throws PREFLIGHT_FAILED */
async function verifyFits(path: string, bytes: number, partial: string): Promise<void> {
  const directory = dirname(partial);
  const { bavail, bsize } = await statfs(directory);
  if (bytes <= bavail * bsize) return;
  const [needed, free] = [bytes, bavail * bsize].map((count) => prettyBytes(count, { binary: true }));
  throw new CowherdError('PREFLIGHT_FAILED', `${path} takes ${needed}, and ${directory} has ${free} left; nothing was changed`, {
    hint: fullDiskHint,
  });
}

function hasChain(header: { hasBackingFile: boolean; externalDataFile: boolean }): boolean {
  return header.hasBackingFile || header.externalDataFile;
}
