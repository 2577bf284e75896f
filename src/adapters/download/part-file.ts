import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { ImportProgress } from '../../core/progress.js';
import { storeError } from '../store/files/files.js';
import { WriteBehind } from './write-behind.js';

/** Enough to recognize a web page. */
const headBytes = 1024;

export interface Digests {
  sha256: string;
  sha512?: string | undefined;
}

/** The file of a download: appends and hashes. */
export class PartFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #withSha512: boolean;
  readonly #writes: WriteBehind;
  #hashes: { sha256: Hash; sha512?: Hash };
  #buffer: Buffer | undefined;
  /** Bytes in the buffer. */
  #filled = 0;
  /** Bytes that were passed on to be written. */
  #passed = 0;
  #head = Buffer.alloc(0);

  constructor(handle: FileHandle, path: string, withSha512: boolean) {
    this.#handle = handle;
    this.#path = path;
    this.#withSha512 = withSha512;
    this.#writes = new WriteBehind(handle);
    this.#hashes = this.#freshHashes();
  }

  /** Received so far, including an earlier run if it was continued. */
  get bytes(): number {
    return this.#passed + this.#filled;
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
    const buffer = await this.#guard('write', this.#take());
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await this.#guard('read', this.#handle.read(buffer, 0, buffer.length, this.#passed));
      if (bytesRead === 0) return;
      const bytes = buffer.subarray(0, bytesRead);
      this.#keepHead(bytes);
      this.#update(bytes);
      this.#passed += bytesRead;
      report({ doneBytes: this.#passed, totalBytes, what: 'reading the part that was downloaded earlier' });
    }
  }

  /** Drops all content. @throws STORE_FAILED */
  async restart(): Promise<void> {
    await this.#writes.settle();
    await this.#guard('write', this.#handle.truncate(0));
    this.#hashes = this.#freshHashes();
    this.#filled = 0;
    this.#passed = 0;
    this.#head = Buffer.alloc(0);
  }

  /** @throws STORE_FAILED, also for an earlier write */
  async append(bytes: Buffer): Promise<void> {
    this.#keepHead(bytes);
    for (let taken = 0; taken < bytes.length; ) {
      const buffer = this.#buffer ?? (await this.#guard('write', this.#take()));
      const count = bytes.copy(buffer, this.#filled, taken);
      taken += count;
      this.#filled += count;
      if (this.#filled === buffer.length) this.#pass();
    }
  }

  /** Writes everything that was appended, and sets the size of the file. @throws STORE_FAILED */
  async flush(): Promise<void> {
    this.#pass();
    const { error } = await this.#writes.settle();
    if (error !== undefined) throw storeError(`write ${this.#path}`, error);
    // It may end with a hole.
    await this.#guard('write', this.#handle.truncate(this.#passed));
  }

  /** Of everything that was appended. After {@link flush}. */
  digests(): Digests {
    const { sha256, sha512 } = this.#hashes;
    const hex = (hash: Hash): string => hash.copy().digest('hex');
    return { sha256: hex(sha256), ...(sha512 === undefined ? {} : { sha512: hex(sha512) }) };
  }

  async close(): Promise<void> {
    await this.#writes.settle();
    await this.#handle.close();
  }

  async #take(): Promise<Buffer> {
    this.#buffer ??= await this.#writes.take();
    return this.#buffer;
  }

  /** Passes the buffer on to be written. */
  #pass(): void {
    if (this.#buffer === undefined || this.#filled === 0) return;
    this.#writes.write(this.#buffer, this.#filled, this.#passed);
    this.#update(this.#buffer.subarray(0, this.#filled));
    this.#buffer = undefined;
    this.#passed += this.#filled;
    this.#filled = 0;
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
