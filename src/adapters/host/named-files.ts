import { constants } from 'node:fs';
import { type FileHandle, open, writeFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import { storeError } from '../store/files/files.js';
import { unreadable } from './denied.js';

/** Files that the user named, read by {@link readNamedFile} and {@link readNamedBytes}. */
const maxTextBytes = 1024 * 1024;

/** The largest flash of QEMU's machines. */
const maxBytes = 64 * 1024 * 1024;

const pipeMs = 10_000;

/** Reads a text file that the user named. @throws FILE_NOT_FOUND; BAD_USAGE if it is not a text file, or larger than 1 MiB */
export async function readNamedFile(path: string): Promise<string> {
  const bytes = await readNamed(path, maxTextBytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CowherdError('BAD_USAGE', `${path} is not a text file in UTF-8`, { hint: 'Is it the right file?', cause });
  }
}

/** @throws FILE_NOT_FOUND; BAD_USAGE if it is not a file, or larger than 64 MiB */
export function readNamedBytes(path: string): Promise<Buffer> {
  return readNamed(path, maxBytes);
}

async function readNamed(path: string, limit: number): Promise<Buffer> {
  const refuse = (reason: string): CowherdError => new CowherdError('BAD_USAGE', `${path} ${reason}`, { hint: 'Is it the right file?' });
  // Opening a pipe without a writer would block forever.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const stats = await handle.stat();
    // Pipes come from <(command) and "-f /dev/stdin".
    if (!stats.isFile() && !stats.isFIFO()) throw refuse(`is ${stats.isDirectory() ? 'a directory' : 'a device or socket'}, not a file`);
    const tooLarge = refuse(`is larger than the ${limit / 1024 / 1024} MiB that are allowed`);
    if (stats.size > limit) throw tooLarge;
    const bytes = Buffer.alloc(stats.isFile() ? stats.size + 1 : limit + 1);
    const deadline = Date.now() + pipeMs;
    for (let length = 0; ; ) {
      const bytesRead = await readSome(handle, bytes, length);
      if (bytesRead === 0) return bytes.subarray(0, length);
      length += bytesRead ?? 0;
      if (length === bytes.length) throw stats.isFile() ? refuse('grew while it was being read') : tooLarge;
      if (Date.now() > deadline) throw refuse(`is a pipe that did not end within ${formatDuration(pipeMs)}`);
    }
  } catch (cause) {
    if (cause instanceof CowherdError) throw cause;
    throw unreadable(path, cause);
  } finally {
    await handle.close();
  }
}

/** @returns undefined if a pipe has no data yet */
async function readSome(handle: FileHandle, bytes: Buffer, from: number): Promise<number | undefined> {
  try {
    return (await handle.read(bytes, from, bytes.length - from, null)).bytesRead;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    await setTimeout(20);
    return undefined;
  }
}

/** Writes a file that the user named. @throws BAD_USAGE if it exists */
export async function writeNewFile(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new CowherdError('BAD_USAGE', `${path} already exists`, { hint: 'Name another file, or remove it first.', cause });
    }
    throw storeError(`write ${path}`, cause);
  }
}
