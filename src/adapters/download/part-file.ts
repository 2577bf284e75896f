import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { ImportProgress } from '../../core/progress.js';
import { writeNonZero } from '../image/image-files.js';
import { storeError } from '../store/files/files.js';

/** Two of them are kept. */
const chunkBytes = 1024 ** 2;
/** Enough to recognize a web page. */
const headBytes = 1024;

export interface Digests {
  sha256: string;
  sha512?: string | undefined;
}

/**
 * The file of a download: appends and hashes. Zeros become holes. While one buffer is written, the next one is filled; writes are in
 * order, so after a kill the file is a correct beginning.
 */
export class PartFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #withSha512: boolean;
  #hashes: { sha256: Hash; sha512?: Hash };
  #buffers: [Buffer, Buffer] = [Buffer.allocUnsafe(chunkBytes), Buffer.allocUnsafe(chunkBytes)];
  /** Bytes in the first buffer. */
  #filled = 0;
  /** Bytes that were passed on to be written. */
  #written = 0;
  #writing: Promise<{ error?: unknown }> = Promise.resolve({});
  #head = Buffer.alloc(0);

  constructor(handle: FileHandle, path: string, withSha512: boolean) {
    this.#handle = handle;
    this.#path = path;
    this.#withSha512 = withSha512;
    this.#hashes = this.#freshHashes();
  }

  /** Received so far, including an earlier run if it was continued. */
  get bytes(): number {
    return this.#written + this.#filled;
  }

  /** The first kilobyte at most. */
  get head(): Buffer {
    return this.#head;
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  /** Continues after the present content, which is read for its digest. @throws STORE_FAILED */
  async resume(report: (progress: ImportProgress) => void, signal: AbortSignal | undefined): Promise<void> {
    const totalBytes = await this.size();
    const [buffer] = this.#buffers;
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await this.#guard('read', this.#handle.read(buffer, 0, chunkBytes, this.#written));
      if (bytesRead === 0) return;
      const bytes = buffer.subarray(0, bytesRead);
      this.#keepHead(bytes);
      this.#update(bytes);
      this.#written += bytesRead;
      report({ doneBytes: this.#written, totalBytes, what: 'reading the part that was downloaded earlier' });
    }
  }

  /** Drops all content. @throws STORE_FAILED */
  async restart(): Promise<void> {
    await this.#writing;
    await this.#guard('write', this.#handle.truncate(0));
    this.#writing = Promise.resolve({});
    this.#hashes = this.#freshHashes();
    this.#filled = 0;
    this.#written = 0;
    this.#head = Buffer.alloc(0);
  }

  /** @throws STORE_FAILED, also for an earlier write */
  async append(bytes: Buffer): Promise<void> {
    this.#keepHead(bytes);
    for (let taken = 0; taken < bytes.length; ) {
      const count = bytes.copy(this.#buffers[0], this.#filled, taken);
      taken += count;
      this.#filled += count;
      if (this.#filled === chunkBytes) await this.#pass();
    }
  }

  /** Writes everything that was appended, and sets the size of the file. @throws STORE_FAILED */
  async flush(): Promise<void> {
    await this.#pass();
    await this.#settle();
    // It may end with a hole.
    await this.#guard('write', this.#handle.truncate(this.#written));
  }

  /** Of everything that was appended. After {@link flush}. */
  digests(): Digests {
    const { sha256, sha512 } = this.#hashes;
    const hex = (hash: Hash): string => hash.copy().digest('hex');
    return { sha256: hex(sha256), ...(sha512 === undefined ? {} : { sha512: hex(sha512) }) };
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#handle.close();
  }

  /** Passes the first buffer on, when the other one was written. */
  async #pass(): Promise<void> {
    await this.#settle();
    const [full, empty] = this.#buffers;
    const bytes = full.subarray(0, this.#filled);
    const position = this.#written;
    this.#writing = writeNonZero(this.#handle, bytes, position).then(
      () => ({}),
      (error: unknown) => ({ error }),
    );
    this.#update(bytes);
    this.#buffers = [empty, full];
    this.#written += this.#filled;
    this.#filled = 0;
  }

  async #settle(): Promise<void> {
    const { error } = await this.#writing;
    if (error !== undefined) throw storeError(`write ${this.#path}`, error);
  }

  #update(bytes: Buffer): void {
    this.#hashes.sha256.update(bytes);
    this.#hashes.sha512?.update(bytes);
  }

  #keepHead(bytes: Buffer): void {
    if (this.#head.length < headBytes) this.#head = Buffer.concat([this.#head, bytes.subarray(0, headBytes - this.#head.length)]);
  }

  #freshHashes(): { sha256: Hash; sha512?: Hash } {
    return { sha256: createHash('sha256'), ...(this.#withSha512 ? { sha512: createHash('sha512') } : {}) };
  }

  #guard<T>(doing: 'read' | 'write', work: Promise<T>): Promise<T> {
    return work.catch((cause: unknown) => {
      throw storeError(`${doing} ${this.#path}`, cause);
    });
  }
}
