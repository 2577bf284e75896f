import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { CowherdError, fullDiskHint } from '../../../core/errors.js';
import { makeImage, writeNonZero } from '../image-files.js';

const blockBytes = 1024 ** 2;
const zeros = Buffer.alloc(blockBytes);
/** Stays free: guests whose disks cannot grow are paused. */
const reservedBytes = 64 * 1024 ** 2;
/** How much is written between two looks at the free space. */
const checkBytes = 16 * 1024 ** 2;

/** A new file that is written once from its beginning to its end, with holes instead of zeros, and hashed meanwhile. */
export class SparseFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #block = Buffer.alloc(blockBytes);
  #filled = 0;
  #position = 0;
  #hash: Hash = createHash('sha256');
  #unchecked = checkBytes;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  static async create(path: string): Promise<SparseFile> {
    await makeImage(path);
    return new SparseFile(path, await open(path, constants.O_WRONLY | constants.O_NOFOLLOW));
  }

  /** @throws PREFLIGHT_FAILED if the disk is almost full */
  async write(bytes: Buffer): Promise<void> {
    for (let taken = 0; taken < bytes.length; ) {
      const length = bytes.copy(this.#block, this.#filled, taken);
      this.#filled += length;
      taken += length;
      if (this.#filled === blockBytes) await this.#flush();
    }
  }

  /** Like {@link write} with zeros, of which nothing is written. @throws INTERRUPTED */
  async skip(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    let left = bytes - (await this.#fill(bytes));
    for (; left >= blockBytes; left -= blockBytes) {
      this.#hash.update(zeros);
      this.#position += blockBytes;
      // Holes may have any length, and a signal arrives only between two tasks.
      await setImmediate();
      signal?.throwIfAborted();
    }
    await this.#fill(left);
  }

  /** Discards everything that was written. */
  async restart(): Promise<void> {
    [this.#filled, this.#position, this.#hash] = [0, 0, createHash('sha256')];
    await this.#handle.truncate(0);
  }

  /** @returns sha256 of the whole file */
  async finish(): Promise<string> {
    await this.#flush();
    await this.#handle.truncate(this.#position);
    return this.#hash.digest('hex');
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  /** Adds zeros to the block, as many as fit. @returns their number */
  async #fill(bytes: number): Promise<number> {
    const length = Math.min(bytes, blockBytes - this.#filled);
    this.#block.fill(0, this.#filled, this.#filled + length);
    this.#filled += length;
    if (this.#filled === blockBytes) await this.#flush();
    return length;
  }

  async #flush(): Promise<void> {
    if (this.#unchecked >= checkBytes) {
      await assertRoom(this.#path, reservedBytes);
      this.#unchecked = 0;
    }
    const block = this.#block.subarray(0, this.#filled);
    this.#hash.update(block);
    this.#unchecked += await writeNonZero(this.#handle, block, this.#position);
    this.#position += this.#filled;
    this.#filled = 0;
  }
}

/** @throws PREFLIGHT_FAILED */
async function assertRoom(path: string, bytes: number): Promise<void> {
  if ((await freeBytes(path)) < bytes) throw noRoom(path);
}

export function noRoom(path: string, cause?: unknown): CowherdError {
  const message = `${dirname(path)} has too little free space for the unpacked disk; nothing was changed`;
  return new CowherdError('PREFLIGHT_FAILED', message, { hint: fullDiskHint, cause });
}

/** Free bytes where a file is. */
async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(dirname(path));
  return bavail * bsize;
}

/** Bytes that a file in that place may get. */
export async function roomFor(path: string): Promise<number> {
  return Math.max(0, (await freeBytes(path)) - reservedBytes);
}
