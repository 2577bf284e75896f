import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { encodeMemory, MemoryMerger } from '../../core/memory/merge.js';
import { parseSaveHead, parseSaveHeader, type SaveHead, saveHeaderBytes } from '../../core/memory/save-file.js';
import { MemorySplitter } from '../../core/memory/split.js';
import type { Sharing } from '../../ports/index.js';
import type { Readers } from '../host/readers.js';
import { writeAll } from '../image/image-files.js';
import { storeError } from './files/files.js';
import { openOwn } from './files/own-files.js';

/** Splits a saved memory into files, and puts it together again. */

const chunkBytes = 4 * 1024 * 1024;

export async function readHead(path: string, handle: FileHandle): Promise<SaveHead> {
  const { size } = await handle.stat();
  const first = await handle.read(Buffer.alloc(saveHeaderBytes), 0, saveHeaderBytes, 0);
  const { streamOffset } = parseSaveHeader(path, first.buffer.subarray(0, first.bytesRead), size);
  const whole = await handle.read(Buffer.alloc(streamOffset), 0, streamOffset, 0);
  return parseSaveHead(path, whole.buffer.subarray(0, whole.bytesRead), size);
}

/**
 * Reads a save file once. Both targets must not exist; they are not synced.
 * @param to.state gets libvirt's header and the stream without the pages of the main memory
 * @param to.ram gets the main memory, sparse
 * @throws UnknownStreamError
 */
export async function splitSave(
  file: string,
  to: { state: string; ram: string },
  { bytes }: Pick<Sharing, 'bytes'>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const handles: FileHandle[] = [];
  const opened = async (handle: Promise<FileHandle>): Promise<FileHandle> => {
    handles.push(await handle);
    return handle;
  };
  try {
    const from = await opened(openOwn(file));
    const [state, ram] = [await opened(open(to.state, 'wx', 0o600)), await opened(open(to.ram, 'wx', 0o600))];
    const { streamOffset } = await readHead(file, from);
    await copyRange(from, state, streamOffset);
    await ram.truncate(bytes);
    const splitter = new MemorySplitter(bytes);
    let stateBytes = streamOffset;
    for await (const chunk of chunksOf(from, streamOffset, signal)) {
      const part = splitter.push(chunk);
      for (const run of part.runs) await writeAll(ram, run.bytes, run.offset);
      const rest = Buffer.concat(part.state);
      await writeAll(state, rest, stateBytes);
      stateBytes += rest.length;
    }
    splitter.end();
  } finally {
    for (const handle of handles) await handle.close();
  }
}

/**
 * Writes a whole save file from both parts.
 * @throws UnknownStreamError
 */
export async function mergeSave(from: { state: string; ram: string }, to: string): Promise<void> {
  const handles: FileHandle[] = [];
  const opened = async (handle: Promise<FileHandle>): Promise<FileHandle> => {
    handles.push(await handle);
    return handle;
  };
  try {
    const [state, ram] = [await opened(openOwn(from.state)), await opened(openOwn(from.ram))];
    const target = await opened(open(to, 'wx', 0o600));
    const { streamOffset } = await readHead(from.state, state);
    await copyRange(state, target, streamOffset);
    const merger = new MemoryMerger();
    let at = streamOffset;
    const append = async (bytes: Buffer): Promise<void> => {
      await writeAll(target, bytes, at);
      at += bytes.length;
    };
    for await (const chunk of chunksOf(state, streamOffset, undefined)) {
      const { before, after } = merger.push(chunk);
      await append(before);
      if (after === undefined) continue;
      let offset = 0;
      for await (const pages of chunksOf(ram, 0, undefined)) {
        await append(encodeMemory(offset, pages));
        offset += pages.length;
      }
      await append(after);
    }
    merger.end();
  } finally {
    for (const handle of handles) await handle.close();
  }
}

async function copyRange(from: FileHandle, to: FileHandle, bytes: number): Promise<void> {
  const { buffer, bytesRead } = await from.read(Buffer.alloc(bytes), 0, bytes, 0);
  await writeAll(to, buffer.subarray(0, bytesRead), 0);
}

/** The buffer is used again for the next chunk. Each is full, except the last. */
async function* chunksOf(handle: FileHandle, from: number, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  const buffer = Buffer.alloc(chunkBytes);
  for (let at = from; ; at += chunkBytes) {
    signal?.throwIfAborted();
    let filled = 0;
    for (let last = -1; last !== 0 && filled < chunkBytes; filled += last)
      last = (await handle.read(buffer, filled, chunkBytes - filled, at + filled)).bytesRead;
    if (filled > 0) yield buffer.subarray(0, filled);
    if (filled < chunkBytes) return;
  }
}

/**
 * Makes a memory that clones map readable for QEMU, and for no one else except its owner.
 * @param isWritable QEMU before 8.2 opens it for writing, also for a private mapping
 * @returns false if QEMU's user cannot be given access: the file is then for its owner only
 */
export async function restrictShared(handle: FileHandle, path: string, readers: Readers, isWritable: boolean): Promise<boolean> {
  try {
    const isGiven = await readers.restrict(handle, path, false);
    const mode = isGiven ? (await handle.stat()).mode & 0o550 : 0o400;
    await handle.chmod(isGiven && isWritable ? mode | (mode >> 1) : mode);
    return isGiven;
  } catch (cause) {
    throw storeError(`restrict who may read ${path}`, cause);
  }
}

/** Syncs a file, for its owner only: libvirt reads it as root or as this user. It contains everything that the source VM knew. */
export async function syncPrivate(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await handle.sync();
    await handle.chmod(0o400);
  } finally {
    await handle.close();
  }
}

/** @returns false if QEMU's user cannot be given access */
export async function syncShared(path: string, readers: Readers, isWritable: boolean): Promise<boolean> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await handle.sync();
    return await restrictShared(handle, path, readers, isWritable);
  } finally {
    await handle.close();
  }
}
