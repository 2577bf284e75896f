import { encodeBlocks, encodePage } from './migration-encoding.js';
import { MigrationStreamParser, pageBytes, type RamBlock, type StreamHandler, UnknownStreamError } from './migration-stream.js';
import { ownBlock, sharedBlock } from './split.js';

/** Undoes a split: the stream of a whole guest, for a host on which clones cannot share the memory. */
export class MemoryMerger implements StreamHandler {
  readonly #parser = new MigrationStreamParser(this);
  #out: Buffer[] = [];
  #before: Buffer[] | undefined;

  /**
   * @param chunk of the device state
   * @returns the bytes before the place of the memory's pages, and those after it; `after` is undefined as long as it was not reached
   * @throws UnknownStreamError
   */
  push(chunk: Buffer): { before: Buffer; after: Buffer | undefined } {
    this.#out = [];
    this.#before = undefined;
    this.#parser.push(chunk);
    const out = Buffer.concat(this.#out);
    return this.#before === undefined ? { before: out, after: undefined } : { before: Buffer.concat(this.#before), after: out };
  }

  /** @throws UnknownStreamError */
  end(): void {
    this.#parser.end();
  }

  other(bytes: Buffer): void {
    this.#out.push(Buffer.from(bytes));
  }

  blocks(blocks: readonly RamBlock[]): void {
    if (!blocks.some(({ name }) => name === sharedBlock)) throw new UnknownStreamError(`it has no block ${sharedBlock}`);
    this.#out.push(encodeBlocks(blocks.map(({ name, bytes }) => ({ name: name === sharedBlock ? ownBlock : name, bytes }))));
  }

  page({ name }: RamBlock, offset: number, content: Buffer | number): void {
    if (name === sharedBlock) throw new UnknownStreamError(`it contains pages of ${sharedBlock}`);
    this.#out.push(encodePage(name, offset, content));
  }

  lastPage(): void {
    this.#before = this.#out;
    this.#out = [];
  }
}

const zeros = Buffer.alloc(pageBytes);

/** @param bytes whole pages of the memory @returns those that are not zero, as the stream has them */
export function encodeMemory(offset: number, bytes: Buffer): Buffer {
  const pages: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += pageBytes) {
    const page = bytes.subarray(at, at + pageBytes);
    if (!page.equals(zeros)) pages.push(encodePage(pages.length === 0 ? ownBlock : undefined, offset + at, page));
  }
  return Buffer.concat(pages);
}
