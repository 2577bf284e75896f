import { type BigIntStats, constants } from 'node:fs';
import { open, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import prettyBytes from 'pretty-bytes';
import { CowherdError, fullDiskHint } from '../../core/errors.js';
import { assertIsDisk, bootWarning, volumeSignature } from '../../core/image/content.js';
import { assertImportable, imageFormat, maxVirtualBytes, parseQcow2Header, qcow2Magic } from '../../core/image/qcow2-header.js';
import { shellWord } from '../../core/quoting.js';
import type { ImportRequest, ImportResult } from '../../ports/bases.js';
import type { ImageTool } from '../../ports/images.js';
import { unreadable as cannotRead } from '../host/denied.js';
import { runTool } from '../process.js';
import { allocatedBytes, isMissing } from '../store/files/files.js';
import { hashAndCopy, hashFile, makeImage, openImage, readHead } from './image-files.js';

/** Source files of base images: their identity, whether they can be imported, and copies of them. */

/** Largest total size of holes. They are read as well (about 1 GB/s), since the digest covers them. */
const maxHoleBytes = 64 * 1024 ** 3;

export async function identify(path: string): Promise<{ stats: BigIntStats; fingerprint: string }> {
  try {
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) throw noFile(path, stats);
    if (stats.size === 0n)
      throw new CowherdError('BASE_REFUSED', `${path} is empty`, { hint: 'A base image needs a disk that is not empty.' });
    // Includes ctime, which users cannot set: equal identities mean equal content.
    return { stats, fingerprint: [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(':') };
  } catch (cause) {
    if (isMissing(cause)) throw new CowherdError('FILE_NOT_FOUND', `There is no file ${path}`, { hint: 'Check the path.', cause });
    if (cause instanceof CowherdError) throw cause;
    throw cannotRead(path, cause);
  }
}

function noFile(path: string, stats: BigIntStats): CowherdError {
  const [what, hint] = stats.isDirectory()
    ? ['a directory', `Name the image file in it: ${shellWord(join(path, 'FILE.qcow2'))}`]
    : stats.isBlockDevice()
      ? ['a block device', `Copy it into a file first: qemu-img convert -f raw -O qcow2 ${shellWord(path)} golden.qcow2`]
      : ['not a file', 'A base image is a qcow2 or raw file.'];
  return new CowherdError('BASE_REFUSED', `${path} is ${what}`, { hint });
}

/**
 * All checks that need no copy.
 * @param name what the user calls it, if the path does not say what it should be
 * @param isFresh it was just written, and hashed: holes cost nothing any more
 * @throws BASE_REFUSED
 */
export async function inspect(
  images: ImageTool,
  path: string,
  stats: BigIntStats,
  request: ImportRequest,
  { name = path, isFresh = false }: { name?: string; isFresh?: boolean } = {},
): Promise<{ format: 'qcow2' | 'raw'; warning: string | undefined }> {
  const head = await readHead(path);
  if (!head.subarray(0, 4).equals(qcow2Magic)) assertIsDisk(path, head, await readSignature(path), request.format);
  const format = imageFormat(path, head, request.format, name);
  const { size } = stats;
  if (format === 'raw' && size % 512n !== 0n) {
    throw new CowherdError('BASE_REFUSED', `${path} is ${size} bytes long, which is not a multiple of 512`, {
      hint: `It may be truncated, or not a disk image. If it is a disk image: truncate --size=%512 ${shellWord(path)}`,
    });
  }
  if (format === 'raw' && size > maxVirtualBytes) {
    throw new CowherdError('BASE_REFUSED', `${path} is a disk larger than 2 PiB`, {
      hint: 'No overlay can be made on a disk of that size.',
    });
  }
  if (!isFresh && Number(size) - allocatedBytes(stats) > maxHoleBytes) {
    throw new CowherdError('BASE_REFUSED', `${path} is ${size} bytes long, of which ${allocatedBytes(stats)} are on disk`, {
      hint: `Reading so many holes takes too long. Convert it to a file without holes: qemu-img convert -f ${format} -O qcow2 ${shellWord(path)} golden.qcow2`,
    });
  }
  // Before any tool opens it: opening follows the file names in the header.
  if (format === 'qcow2') assertImportable(path, parseQcow2Header(path, head), size, request);
  try {
    // Raw images too, to detect a writer that has it open.
    await images.info(path, format);
    return { format, warning: format === 'raw' ? bootWarning(path, head) : await images.check(path, request.signal) };
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function readSignature(path: string): Promise<Buffer> {
  const handle = await openImage(path);
  try {
    const { offset, length } = volumeSignature;
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** A tool that fails or times out on an image means that the image is bad. */
function unreadable(path: string, error: unknown): unknown {
  if (!(error instanceof CowherdError) || (error.code !== 'TOOL_FAILED' && error.code !== 'TOOL_TIMEOUT')) return error;
  return new CowherdError('BASE_REFUSED', `${path} cannot be read as a disk: ${error.message}`, {
    details: error.details,
    hint: 'It is damaged, or this QEMU does not support its format. Copy it again from its source.',
    cause: error,
  });
}

/** @throws BASE_REFUSED */
export async function assertUnchanged(path: string, fingerprint: string, verb: string): Promise<void> {
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
    await makeImage(partial);
    await images.convert({
      source: { path, format },
      target: { path: partial, format: 'qcow2' },
      onProgress: (percent) => onProgress?.({ doneBytes: (totalBytes * percent) / 100, totalBytes }),
      signal,
    });
    return { how: 'flattened', digest: await hashFile(partial, undefined, signal) };
  }
  await makeImage(partial);
  // With cp, since Node copies the mode of the source: others could open it for writing, and write after it is sealed.
  const reflinked = await runTool('cp', ['--reflink=always', '--', path, partial], { signal }).then(
    () => true,
    () => false,
  );
  signal?.throwIfAborted();
  if (reflinked) return { how: 'reflinked', digest: await hashFile(partial, onProgress, signal) };
  await assertFits(path, Number(stats.blocks) * 512, partial);
  const [from, to] = [await openImage(path), await open(partial, constants.O_WRONLY | constants.O_TRUNC | constants.O_NOFOLLOW)];
  try {
    // Limited, since a source could grow as fast as it is read.
    return { how: 'copied', digest: await hashAndCopy(from, to, onProgress, signal, Number(stats.size)) };
  } finally {
    await Promise.all([from.close(), to.close()]);
  }
}

/** Checked before gigabytes are copied. @throws PREFLIGHT_FAILED */
async function assertFits(path: string, bytes: number, partial: string): Promise<void> {
  const directory = dirname(partial);
  const { bavail, bsize } = await statfs(directory);
  if (bytes <= bavail * bsize) return;
  const [needed, free] = [bytes, bavail * bsize].map((count) => prettyBytes(count, { binary: true }));
  throw new CowherdError('PREFLIGHT_FAILED', `${path} needs ${needed}, but ${directory} has only ${free} free; nothing was changed`, {
    hint: fullDiskHint,
  });
}

function hasChain(header: { hasBackingFile: boolean; externalDataFile: boolean }): boolean {
  return header.hasBackingFile || header.externalDataFile;
}
