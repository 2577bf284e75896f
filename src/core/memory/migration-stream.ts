/**
 * The stream in which QEMU saves a guest: its RAM blocks page by page, then its devices. Big-endian.
 * Source: QEMU docs/devel/migration, migration/ram.c and scripts/analyze-migration.py. Read as far as the RAM goes; everything
 * that is not known to be harmless is refused, since a guest would run with wrong memory.
 */

export const pageBytes = 4096;

/** A region of the guest's memory, e.g. `pc.ram`, `vga.vram` or `/rom@etc/acpi/tables`. */
export interface RamBlock {
  name: string;
  bytes: number;
}

/** Receives the stream in order. Buffers are only valid during the call. */
export interface StreamHandler {
  /** Everything except pages and the list of blocks, as it is. */
  other(bytes: Buffer): void;
  /** Once, before the first page. */
  blocks(blocks: readonly RamBlock[]): void;
  /** @param content the page, or the byte that fills it */
  page(block: RamBlock, offset: number, content: Buffer | number): void;
  /** After the last page. Pages may still be added here. */
  lastPage(): void;
}

/** The stream contains something unknown. The message says what. */
export class UnknownStreamError extends Error {}

const magic = 0x5145564d;
const version = 3;
const section = { start: 1, part: 2, end: 3, full: 4, configuration: 7, command: 8, footer: 0x7e };
/** Flags of a page's offset. */
export const flag = { zero: 0x02, sizes: 0x04, page: 0x08, endOfSection: 0x10, sameBlock: 0x20 };
/** Sections have this name, instance and version. */
const ramName = 'ram';
const ramVersion = 4;
/** Far above the real values; they bound what is buffered. */
const most = { configurationBytes: 4096, blocks: 1024, blockBytes: 2 ** 46 };

/** Parses a stream that arrives in chunks of any size. Only the beginning of an item that is not complete is kept. */
export class MigrationStreamParser {
  readonly #handler: StreamHandler;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  /** The next kind of item. */
  #next: () => boolean = () => this.#header();
  readonly #blocks = new Map<string, RamBlock>();
  #current: RamBlock | undefined;
  #ramSection: number | undefined;
  #sectionKind = 0;

  constructor(handler: StreamHandler) {
    this.#handler = handler;
  }

  /** @throws UnknownStreamError; the parser must not be used after that */
  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    this.#at = 0;
    while (this.#next()) {
      // Until an item is incomplete.
    }
    // A copy: the caller may use the chunk again.
    this.#bytes = Buffer.from(this.#bytes.subarray(this.#at));
  }

  /** @throws UnknownStreamError if the stream ended before the devices */
  end(): void {
    if (this.#next !== this.#devices) throw new UnknownStreamError('it ends before its devices');
  }

  #has(count: number): boolean {
    return this.#bytes.length - this.#at >= count;
  }

  /** Passes bytes on to the handler. */
  #pass(count: number): void {
    this.#handler.other(this.#bytes.subarray(this.#at, this.#at + count));
    this.#at += count;
  }

  #header(): boolean {
    if (!this.#has(8)) return false;
    const seen = [this.#bytes.readUInt32BE(this.#at), this.#bytes.readUInt32BE(this.#at + 4)];
    if (seen[0] !== magic || seen[1] !== version) throw new UnknownStreamError('it does not begin like a stream of QEMU');
    this.#pass(8);
    this.#next = this.#section;
    return true;
  }

  readonly #section = (): boolean => {
    if (!this.#has(1)) return false;
    const kind = this.#bytes[this.#at] ?? 0;
    switch (kind) {
      case section.configuration:
        return this.#configuration();
      case section.command:
        return this.#command();
      case section.start:
        return this.#start();
      case section.part:
      case section.end:
        return this.#part(kind);
      case section.full:
        if (this.#sectionKind !== section.end) throw new UnknownStreamError('its devices come before the end of its memory');
        this.#next = this.#devices;
        return true;
      default:
        throw new UnknownStreamError(`a section has the unknown kind ${kind}`);
    }
  };

  /** The machine type. */
  #configuration(): boolean {
    if (!this.#has(5)) return false;
    const length = this.#bytes.readUInt32BE(this.#at + 1);
    if (length > most.configurationBytes || this.#ramSection !== undefined) throw new UnknownStreamError('its configuration is unknown');
    if (!this.#has(5 + length)) return false;
    this.#pass(5 + length);
    return true;
  }

  /** Of QEMU 8.2 and later; a length of two bytes bounds it. */
  #command(): boolean {
    if (!this.#has(5)) return false;
    const length = this.#bytes.readUInt16BE(this.#at + 3);
    if (!this.#has(5 + length)) return false;
    this.#pass(5 + length);
    return true;
  }

  #start(): boolean {
    const length = 1 + 4 + 1 + ramName.length + 8;
    if (!this.#has(length)) return false;
    const at = this.#at + 5;
    const name = this.#bytes.toString('latin1', at + 1, at + 1 + ramName.length);
    if (this.#bytes[at] !== ramName.length || name !== ramName)
      throw new UnknownStreamError('a section other than the memory comes in parts');
    if (this.#ramSection !== undefined) throw new UnknownStreamError('its memory begins twice');
    const [instance, seen] = [this.#bytes.readUInt32BE(this.#at + length - 8), this.#bytes.readUInt32BE(this.#at + length - 4)];
    if (instance !== 0 || seen !== ramVersion) throw new UnknownStreamError(`its memory has version ${seen}`);
    this.#ramSection = this.#bytes.readUInt32BE(this.#at + 1);
    this.#sectionKind = section.start;
    this.#pass(length);
    this.#next = this.#record;
    return true;
  }

  #part(kind: number): boolean {
    if (!this.#has(5)) return false;
    if (this.#bytes.readUInt32BE(this.#at + 1) !== this.#ramSection) throw new UnknownStreamError('a part belongs to an unknown section');
    if (this.#blocks.size === 0) throw new UnknownStreamError('its memory has no blocks');
    if (this.#sectionKind === section.end) throw new UnknownStreamError('its memory continues after its end');
    this.#sectionKind = kind;
    this.#pass(5);
    this.#next = this.#record;
    return true;
  }

  /** A word of page offset and flags, and what belongs to it. */
  readonly #record = (): boolean => {
    if (!this.#has(8)) return false;
    const low = this.#bytes.readUInt32BE(this.#at + 4);
    const flags = low & 0xfff;
    const offset = this.#bytes.readUInt32BE(this.#at) * 2 ** 32 + (low - flags);
    switch (flags) {
      case flag.page:
      case flag.page | flag.sameBlock:
      case flag.zero:
      case flag.zero | flag.sameBlock:
        return this.#page(offset, flags);
      case flag.sizes:
        return this.#list(offset);
      case flag.endOfSection:
        if (offset !== 0) throw new UnknownStreamError('a part of its memory ends in an unknown way');
        if (this.#sectionKind === section.end) this.#handler.lastPage();
        this.#pass(8);
        this.#next = this.#footer;
        return true;
      default:
        throw new UnknownStreamError(`a page has the unknown flags 0x${flags.toString(16)}`);
    }
  };

  #page(offset: number, flags: number): boolean {
    let at = this.#at + 8;
    let block = this.#current;
    if ((flags & flag.sameBlock) === 0) {
      const length = this.#bytes[at];
      if (length === undefined || !this.#has(8 + 1 + length)) return false;
      const name = this.#bytes.toString('latin1', at + 1, at + 1 + length);
      block = this.#blocks.get(name);
      if (block === undefined) throw new UnknownStreamError(`a page belongs to an unknown block, ${JSON.stringify(name)}`);
      at += 1 + length;
    }
    if (block === undefined) throw new UnknownStreamError('a page does not name its block');
    if (offset >= block.bytes) throw new UnknownStreamError(`a page is outside of ${block.name}`);
    const isZero = (flags & flag.zero) !== 0;
    const end = at + (isZero ? 1 : pageBytes);
    if (end > this.#bytes.length) return false;
    this.#handler.page(block, offset, isZero ? (this.#bytes[at] ?? 0) : this.#bytes.subarray(at, end));
    this.#current = block;
    this.#at = end;
    return true;
  }

  /** The blocks and their sizes, which must add up to the total. */
  #list(total: number): boolean {
    if (this.#sectionKind !== section.start || this.#blocks.size > 0) throw new UnknownStreamError('its blocks are listed twice');
    const blocks: RamBlock[] = [];
    let at = this.#at + 8;
    for (let sum = 0; sum < total; ) {
      const length = this.#bytes[at];
      if (length === undefined || at + 1 + length + 8 > this.#bytes.length) return false;
      const name = this.#bytes.toString('latin1', at + 1, at + 1 + length);
      const bytes = Number(this.#bytes.readBigUInt64BE(at + 1 + length));
      if (length === 0 || bytes === 0 || bytes % pageBytes !== 0 || bytes > most.blockBytes || blocks.length === most.blocks)
        throw new UnknownStreamError(`the block ${JSON.stringify(name)} has ${bytes} bytes`);
      if (blocks.some((block) => block.name === name)) throw new UnknownStreamError(`the block ${name} is listed twice`);
      blocks.push({ name, bytes });
      sum += bytes;
      if (sum > total) throw new UnknownStreamError('the sizes of its blocks do not add up');
      at += 1 + length + 8;
    }
    for (const block of blocks) this.#blocks.set(block.name, block);
    this.#handler.blocks(blocks);
    this.#at = at;
    return true;
  }

  readonly #footer = (): boolean => {
    if (!this.#has(5)) return false;
    if (this.#bytes[this.#at] !== section.footer || this.#bytes.readUInt32BE(this.#at + 1) !== this.#ramSection)
      throw new UnknownStreamError('a part of its memory has no end');
    this.#pass(5);
    this.#next = this.#section;
    return true;
  };

  /** Up to the end of the stream. They contain no pages. */
  readonly #devices = (): boolean => {
    if (this.#at < this.#bytes.length) this.#pass(this.#bytes.length - this.#at);
    return false;
  };
}
