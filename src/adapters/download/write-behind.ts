import type { FileHandle } from 'node:fs/promises';
import { writeNonZero } from '../image/image-files.js';

const bufferBytes = 1024 ** 2;
/** As many as the network fills while a slow write takes its time. */
const bufferCount = 4;
/** Between two syncs: otherwise all data would wait in memory for the one at the end. */
const syncBytes = 64 * 1024 ** 2;

/**
 * Writes buffers in order, while the caller fills others: after a kill, the file is a correct beginning. Zeros become holes. Data is
 * synced all along, so that the disk works while the network does.
 */
export class WriteBehind {
  readonly #handle: FileHandle;
  /** Buffers that are not in use. */
  readonly #free: Buffer[] = Array.from({ length: bufferCount }, () => Buffer.allocUnsafe(bufferBytes));
  /** Unfinished writes, the oldest first: at most one for each buffer. */
  readonly #writes: Promise<void>[] = [];
  #last: Promise<void> = Promise.resolve();
  #sync: Promise<void> | undefined;
  #unsynced = 0;
  #failure: { error: unknown } | undefined;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** A buffer to fill. @throws the error of an earlier write or sync */
  async take(): Promise<Buffer> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const buffer = this.#free.pop();
      if (buffer !== undefined) return buffer;
      await this.#writes[0];
    }
  }

  /** Writes the first bytes of a buffer that was taken, after all others. */
  write(buffer: Buffer, length: number, position: number): void {
    const work = async (): Promise<void> => {
      if (this.#failure === undefined) await writeNonZero(this.#handle, buffer.subarray(0, length), position);
    };
    this.#last = this.#last.then(work).then(
      () => this.#written(buffer, length),
      (error: unknown) => {
        this.#failure ??= { error };
        this.#release(buffer);
      },
    );
    this.#writes.push(this.#last);
  }

  /** Waits for everything that was begun, and forgets errors. @returns the first of them */
  async settle(): Promise<{ error?: unknown }> {
    await this.#last;
    await this.#sync;
    const failure = this.#failure;
    this.#failure = undefined;
    return failure ?? {};
  }

  #release(buffer: Buffer): void {
    this.#writes.shift();
    this.#free.push(buffer);
  }

  #written(buffer: Buffer, length: number): void {
    this.#release(buffer);
    this.#unsynced += length;
    if (this.#unsynced < syncBytes || this.#sync !== undefined) return;
    this.#unsynced = 0;
    this.#sync = this.#handle.datasync().then(
      () => {
        this.#sync = undefined;
      },
      (error: unknown) => {
        this.#sync = undefined;
        this.#failure ??= { error };
      },
    );
  }
}
