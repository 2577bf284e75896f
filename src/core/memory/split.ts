import { encodeBlocks, encodePage } from './migration-encoding.js';
import { MigrationStreamParser, pageBytes, type RamBlock, type StreamHandler, UnknownStreamError } from './migration-stream.js';

/**
 * Splits a saved guest into its main memory and the rest, so that clones can share the memory like a backing file: each maps it
 * privately and is restored from the rest alone, in which no page of that memory arrives.
 */

/** Name of the main memory in a clone: that of its memory backend. libvirt uses `pc.ram` for its own. */
export const sharedBlock = 'cw.ram';
/** Its name in a saved guest of libvirt, on x86 machines. */
export const ownBlock = 'pc.ram';

const zeroPage = Buffer.alloc(pageBytes);

/** A part of the memory, to be written at its offset. Later runs replace earlier ones. */
export interface Run {
  offset: number;
  bytes: Buffer;
}

/** What a chunk of the stream contained. */
export interface SplitChunk {
  /** Bytes of the device state. */
  state: Buffer[];
  runs: Run[];
}

export class MemorySplitter implements StreamHandler {
  readonly #parser = new MigrationStreamParser(this);
  readonly #bytes: number;
  readonly #seen: Uint8Array;
  /** Pages that are not zero, so that a later zero page must be written. */
  readonly #written: Uint8Array;
  #unseen: number;
  #state: Buffer[] = [];
  #runs: Run[] = [];
  #pages: Buffer = Buffer.alloc(0);
  #used = 0;

  /** @param bytes size of the guest's memory */
  constructor(bytes: number) {
    this.#bytes = bytes;
    this.#unseen = bytes / pageBytes;
    this.#seen = new Uint8Array(Math.ceil(this.#unseen / 8));
    this.#written = new Uint8Array(this.#seen.length);
  }

  /** @throws UnknownStreamError */
  push(chunk: Buffer): SplitChunk {
    // The begin of a page may have come with the chunk before.
    this.#pages = Buffer.allocUnsafe(chunk.length + 2 * pageBytes);
    this.#used = 0;
    this.#runs = [];
    this.#state = [];
    this.#parser.push(chunk);
    return { state: this.#state, runs: this.#runs };
  }

  /** @throws UnknownStreamError if the stream or the memory is not complete */
  end(): void {
    this.#parser.end();
    if (this.#unseen > 0) throw new UnknownStreamError(`${this.#unseen} pages of its memory are missing`);
  }

  other(bytes: Buffer): void {
    this.#state.push(Buffer.from(bytes));
  }

  blocks(blocks: readonly RamBlock[]): void {
    const main = blocks.filter(({ name }) => isMain(name));
    if (main.length !== 1 || main[0]?.bytes !== this.#bytes) {
      const listed = main.map(({ name, bytes }) => `${name} of ${bytes} bytes`).join(', ') || blocks.map(({ name }) => name).join(', ');
      throw new UnknownStreamError(`its memory is not one block of ${this.#bytes} bytes: ${listed}`);
    }
    this.#state.push(encodeBlocks(blocks.map(({ name, bytes }) => ({ name: isMain(name) ? sharedBlock : name, bytes }))));
  }

  page({ name }: RamBlock, offset: number, content: Buffer | number): void {
    if (!isMain(name)) {
      this.#state.push(encodePage(name, offset, content));
      return;
    }
    const page = offset / pageBytes;
    const [byte, bit] = [page >> 3, 1 << (page & 7)];
    if (((this.#seen[byte] ?? 0) & bit) === 0) this.#unseen--;
    this.#seen[byte] = (this.#seen[byte] ?? 0) | bit;
    const isWritten = ((this.#written[byte] ?? 0) & bit) !== 0;
    if (typeof content === 'number') {
      if (content !== 0) throw new UnknownStreamError(`a page is filled with ${content}`);
      if (isWritten) this.#runs.push({ offset, bytes: zeroPage });
      return;
    }
    this.#written[byte] = (this.#written[byte] ?? 0) | bit;
    this.#add(offset, content);
  }

  lastPage(): void {}

  #add(offset: number, content: Buffer): void {
    const start = this.#used;
    this.#used += pageBytes;
    content.copy(this.#pages, start);
    const last = this.#runs.at(-1);
    const follows = last !== undefined && last.offset + last.bytes.length === offset && last.bytes !== zeroPage;
    if (follows) last.bytes = this.#pages.subarray(start - last.bytes.length, this.#used);
    else this.#runs.push({ offset, bytes: this.#pages.subarray(start, this.#used) });
  }
}

function isMain(name: string): boolean {
  return name === ownBlock || name === sharedBlock;
}
