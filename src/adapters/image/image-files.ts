import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CowherdError } from '../../core/errors.js';
import { headerBytes } from '../../core/image/qcow2-header.js';
import type { ImportProgress } from '../../core/progress.js';
import { unreadable } from '../host/denied.js';
import type { Readers } from '../host/readers.js';
import { openOwn } from '../store/files/own-files.js';

/** Reading, hashing and copying whole images. */

type OnProgress = ((progress: ImportProgress) => void) | undefined;

const chunkBytes = 4 * 1024 * 1024;
const holeBytes = 64 * 1024;
const zeros = Buffer.alloc(holeBytes);

/** Opens a file that the user named. It was a regular file when checked; a pipe in its place must not block. */
export function openImage(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | constants.O_NONBLOCK);
}

/** Readable by this user only; never an existing file or the target of a link. */
export async function makeImage(path: string): Promise<void> {
  await (await open(path, 'wx', 0o600)).close();
}

export async function readHead(path: string): Promise<Buffer> {
  const handle = await openImage(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(headerBytes), { position: 0 });
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/**
 * The name of the backing file in a qcow2 header. Source: QEMU docs/interop/qcow2.txt.
 * @returns undefined if there is none, or if the file ends before the tables that its header names (truncated)
 */
export async function readBackingName(path: string): Promise<string | undefined> {
  const handle = await openOwn(path);
  try {
    if ((await handle.stat()).nlink > 1) throw sharedFile(path);
    const { buffer: head, bytesRead } = await handle.read(Buffer.alloc(4096), 0, 4096, 0);
    const offset = bytesRead < 72 ? 0 : Number(head.readBigUInt64BE(8));
    const length = bytesRead < 72 ? 0 : head.readUInt32BE(16);
    // At most 1023 bytes, by the format.
    if (offset === 0 || length === 0 || length > 1023) return undefined;
    const { size } = await handle.stat();
    const [l1Entries, l1Offset, refcountsOffset] = [
      head.readUInt32BE(36),
      Number(head.readBigUInt64BE(40)),
      Number(head.readBigUInt64BE(48)),
    ];
    if (size < l1Offset + l1Entries * 8 || size <= refcountsOffset) return undefined;
    if (offset + length <= bytesRead) return head.toString('utf8', offset, offset + length);
    const name = Buffer.alloc(length);
    await handle.read(name, 0, length, offset);
    return name.toString('utf8');
  } finally {
    await handle.close();
  }
}

/** Writing to it would change the other link as well, which may be a base image. */
function sharedFile(path: string): CowherdError {
  return new CowherdError('IMAGE_CHANGED', `${path} has more than one hard link`, {
    hint: 'Writing to one link changes both. Remove the other link, or replace this one by a copy: cp --sparse=always, then mv.',
  });
}

/** @throws IMAGE_CHANGED, STORE_FAILED if the overlay is not a regular file with one link */
export async function assertAlone(path: string): Promise<void> {
  const handle = await openOwn(path);
  try {
    if ((await handle.stat()).nlink > 1) throw sharedFile(path);
  } finally {
    await handle.close();
  }
}

/**
 * Syncs the file and makes it read-only, for its owner and QEMU only.
 * @returns false if it must stay world-readable, see {@link Readers.restrict}
 */
export async function seal(path: string, readers: Readers): Promise<boolean> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new CowherdError('STORE_FAILED', `${path} is not a file`, { hint: 'Check it; cowherd did not create it.' });
    if (stats.nlink > 1) throw sharedFile(path);
    const isRestricted = await readers.restrict(handle, path);
    await handle.sync();
    return isRestricted;
  } finally {
    await handle.close();
  }
}

export async function hashFile(path: string, onProgress: OnProgress, signal: AbortSignal | undefined): Promise<string> {
  const handle = await openOwn(path);
  try {
    return await hashAndCopy(handle, undefined, onProgress, signal);
  } finally {
    await handle.close();
  }
}

/**
 * Reads a file once: computes its sha256 and, if a target is given, writes a sparse copy.
 * @param most how many bytes to read
 */
export async function hashAndCopy(
  from: FileHandle,
  to: FileHandle | undefined,
  onProgress: OnProgress,
  signal: AbortSignal | undefined,
  most = Number.POSITIVE_INFINITY,
): Promise<string> {
  const hash = createHash('sha256');
  const { size } = await from.stat();
  const chunk = Buffer.alloc(chunkBytes);
  let position = 0;
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await from.read(chunk, 0, Math.min(chunkBytes, most - position), position);
    if (bytesRead === 0) break;
    hash.update(chunk.subarray(0, bytesRead));
    if (to !== undefined) await writeNonZero(to, chunk.subarray(0, bytesRead), position);
    position += bytesRead;
    onProgress?.({ doneBytes: position, totalBytes: size });
  }
  await to?.truncate(position);
  return hash.digest('hex');
}

/** Writes all but whole pieces of zeros, which become holes. @returns how many bytes were written */
export async function writeNonZero(to: FileHandle, bytes: Buffer, position: number): Promise<number> {
  let start = -1;
  let written = 0;
  for (let offset = 0; offset < bytes.length; offset += holeBytes) {
    const piece = bytes.subarray(offset, offset + holeBytes);
    const isHole = piece.equals(zeros.subarray(0, piece.length));
    if (!isHole && start < 0) start = offset;
    if (isHole && start >= 0) {
      await writeAll(to, bytes.subarray(start, offset), position + start);
      written += offset - start;
      start = -1;
    }
  }
  if (start < 0) return written;
  await writeAll(to, bytes.subarray(start), position + start);
  return written + bytes.length - start;
}

/** The bytes at that place; fewer at the end of the file. */
export async function readAt(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, Math.max(0, offset));
  return buffer.subarray(0, bytesRead);
}

/** A full disk may write fewer bytes than asked without an error: the rest would be sealed as zeros. */
export async function writeAll(to: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await to.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
  }
}
