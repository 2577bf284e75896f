import type { Parser, ReadEntry } from 'tar';
import { archiveLimits, damagedArchive, fileTypes } from '../../../core/image/formats/archive.js';
import { type Entry, EntryBody, type Piece } from '../../../core/image/formats/entry-body.js';
import { type Damaged, extendMap, gnuMap, paxMap, type SparseMap, sparseRecords } from '../../../core/image/formats/sparse.js';
import { tooLarge } from './streams.js';
import { labelOf, type Subject } from './subject.js';

const sector = 512;
const holesName = /(^|\/)GNUSparseFile\.\d+\//;

/**
 * Regular files in a tar archive, with their content. The package tar reads headers and says how long each entry is, so there is only
 * one opinion about that. It gets single headers and whole contents: it does not know the maps that follow headers of the type S.
 */
export class ArchiveEntries {
  readonly #subject: Subject;
  readonly #maxBytes: number;
  readonly #parser: Parser;
  readonly #damaged: Damaged;
  #entries = 0;
  #headers = 0;
  #failure: Error | undefined;
  #hasEndMark = false;
  #isAtEnd = false;
  #records: Array<[key: string, value: string]> = [];
  /** The part of a sector that is not complete. */
  #sector: Buffer = Buffer.alloc(0);
  /** The entry whose content comes next. */
  #body: EntryBody | undefined;
  /** An entry whose map continues in the next sector. */
  #extended: { map: SparseMap; body: EntryBody } | undefined;

  private constructor(parser: Parser, subject: Subject, maxBytes: number) {
    [this.#parser, this.#subject, this.#maxBytes] = [parser, subject, maxBytes];
    this.#damaged = (why) => damagedArchive(labelOf(subject), why);
    parser.on('error', (error: Error) => this.#fail(damagedArchive(labelOf(subject), error.message, error)));
    parser.on('nullBlock', () => {
      this.#hasEndMark = true;
    });
    parser.on('eof', () => {
      this.#isAtEnd = true;
    });
    parser.on('meta', (text: string) => {
      this.#countHeader();
      this.#records.push(...sparseRecords(text));
    });
    parser.on('ignoredEntry', (entry: ReadEntry) => {
      if (entry.meta) this.#fail(this.#damaged(`it has a header of ${entry.size} bytes`));
      this.#enter(entry);
    });
    parser.on('entry', (entry: ReadEntry) => {
      entry.resume();
      this.#enter(entry);
    });
  }

  static async open(subject: Subject, maxBytes: number): Promise<ArchiveEntries> {
    const { Parser } = await import('tar');
    const parser = new Parser({ strict: true, maxMetaEntrySize: archiveLimits.headerBytes, zstd: false });
    return new ArchiveEntries(parser, subject, maxBytes);
  }

  /** @param chunk the next bytes of the archive; @throws BASE_REFUSED */
  *take(chunk: Buffer): Generator<Piece> {
    // Archives are padded at their end. The parser would collect that.
    for (let rest = chunk; rest.length > 0 && !this.#isAtEnd; ) {
      const bytes = rest.subarray(0, this.#body?.paddedBytes ?? sector - this.#sector.length);
      rest = rest.subarray(bytes.length);
      if (this.#body === undefined) this.#takeHeader(bytes);
      else {
        this.#write(bytes);
        yield* this.#body.take(bytes);
      }
      // Also after a header, since entries may be empty.
      if (this.#body?.paddedBytes !== 0) continue;
      yield* this.#body.end();
      this.#body = undefined;
    }
  }

  /** After the last byte. @throws BASE_REFUSED if the archive is incomplete */
  end(): void {
    if (this.#extended !== undefined || this.#body?.isInMap === true) throw this.#damaged('it ends in the map of a sparse file');
    if (!this.#isAtEnd) this.#call(() => void this.#parser.end(this.#sector));
    if (!this.#hasEndMark) throw this.#damaged('it has no end mark');
  }

  #takeHeader(bytes: Buffer): void {
    this.#sector = Buffer.concat([this.#sector, bytes]);
    if (this.#sector.length < sector) return;
    const header = this.#sector;
    if (this.#extended === undefined) this.#write(header);
    else if (!extendMap(this.#extended.map, header)) {
      this.#begin(this.#extended.body);
      this.#extended = undefined;
    }
    this.#sector = Buffer.alloc(0);
  }

  /** The parser calls the listeners before `write` returns. */
  #write(bytes: Buffer): void {
    this.#call(() => void this.#parser.write(bytes));
  }

  #call(parse: () => void): void {
    try {
      parse();
    } catch (error) {
      this.#fail(damagedArchive(labelOf(this.#subject), error instanceof Error ? error.message : String(error), error));
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Called within the parser, for every entry: errors are thrown when it returns. */
  #enter(read: ReadEntry): void {
    const records = this.#records.splice(0);
    this.#count(read);
    if (this.#failure !== undefined) return;
    try {
      this.#open(read, records);
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #open(read: ReadEntry, records: Array<[key: string, value: string]>): void {
    const length = { dataBytes: read.remain, paddedBytes: read.blockRemain };
    if (String(read.header.typeKey) === 'S') {
      // The parser does not apply extended headers to entries of this type, and GNU tar does.
      if (read.size !== read.remain) throw this.#damaged('a sparse file has two sizes');
      const { map, isExtended } = gnuMap(this.#sector, this.#damaged);
      const body = new EntryBody(length, this.#sparseEntry(read.path, map), { map, isInData: false });
      if (isExtended) this.#extended = { map, body };
      else this.#begin(body);
      return;
    }
    if (!fileTypes.has(read.type)) {
      this.#begin(new EntryBody(length));
      return;
    }
    if (records.length > 0) {
      const { map, name, isInData } = paxMap(records, this.#damaged);
      this.#begin(new EntryBody(length, this.#sparseEntry(name ?? read.path, map), { map, isInData }));
      return;
    }
    // Only the map says what its content means.
    if (holesName.test(read.path)) throw this.#damaged('it has a sparse file without a map');
    this.#begin(new EntryBody(length, { name: read.path, bytes: read.size }));
  }

  #sparseEntry(name: string, { realBytes }: SparseMap): Entry {
    if (realBytes > this.#maxBytes) throw tooLarge(this.#subject, this.#maxBytes);
    return { name, bytes: realBytes };
  }

  #begin(body: EntryBody): void {
    body.begin();
    this.#body = body;
  }

  #count(entry: ReadEntry): void {
    this.#entries++;
    if (this.#entries > archiveLimits.entries) this.#fail(this.#damaged(`it has more than ${archiveLimits.entries} entries`));
    if (!Number.isSafeInteger(entry.remain) || entry.remain > this.#maxBytes)
      this.#fail(this.#damaged(`one of its headers says that a file has ${entry.remain} bytes`));
    this.#countHeader();
  }

  #countHeader(): void {
    this.#headers++;
    if (this.#headers > archiveLimits.headers) this.#fail(this.#damaged(`it has more than ${archiveLimits.headers} headers`));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
  }
}
