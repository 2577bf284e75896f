import { type Part, SparseContent, type SparseMap, TextMap } from './sparse.js';

/** A regular file in an archive. */
export interface Entry {
  name: string;
  /** With its holes. */
  bytes: number;
}

/** What comes out of an archive: a part of an entry, or its end if there is no part. */
export interface Piece {
  entry: Entry;
  part?: Part;
}

const sector = 512;

/** The content of one entry of an archive, with its holes. */
export class EntryBody {
  readonly #entry: Entry | undefined;
  readonly #map: SparseMap | undefined;
  readonly #content: SparseContent | undefined;
  /** While the map at the beginning of the content is read. */
  #text: TextMap | undefined;
  /** The part of a sector of that map that is not complete. */
  #sector: Buffer = Buffer.alloc(0);
  #dataBytes: number;
  #paddedBytes: number;

  /**
   * @param length what follows in the archive, in bytes: data, and with what fills its last sector
   * @param entry undefined if its content is skipped
   * @param sparse isInData: its map is at the beginning of the content
   */
  constructor(length: { dataBytes: number; paddedBytes: number }, entry?: Entry, sparse?: { map: SparseMap; isInData: boolean }) {
    [this.#dataBytes, this.#paddedBytes] = [length.dataBytes, length.paddedBytes];
    this.#entry = entry;
    if (sparse === undefined) return;
    this.#map = sparse.map;
    this.#content = new SparseContent(sparse.map);
    if (sparse.isInData) this.#text = new TextMap(sparse.map);
  }

  /** Bytes of the archive that still belong to it. */
  get paddedBytes(): number {
    return this.#paddedBytes;
  }

  get isInMap(): boolean {
    return this.#text !== undefined;
  }

  /** Call it when the map is complete that precedes the content. @throws BASE_REFUSED */
  begin(): void {
    if (!this.isInMap) this.#map?.close(this.#dataBytes);
  }

  /** @param bytes at most {@link paddedBytes} bytes of the archive; @throws BASE_REFUSED */
  *take(bytes: Buffer): Generator<Piece> {
    let data = bytes.subarray(0, this.#dataBytes);
    this.#paddedBytes -= bytes.length;
    this.#dataBytes -= data.length;
    const entry = this.#entry;
    if (entry === undefined) return;
    while (this.#text !== undefined && data.length > 0) data = this.#takeMap(this.#text, data);
    if (data.length === 0) return;
    for (const part of this.#content?.take(data) ?? [data]) yield { entry, part };
  }

  /** After its last byte. @throws BASE_REFUSED */
  *end(): Generator<Piece> {
    const entry = this.#entry;
    if (this.isInMap) throw this.#map?.damaged('a sparse file ends in its map');
    if (entry === undefined) return;
    for (const part of this.#content?.end() ?? []) yield { entry, part };
    yield { entry };
  }

  /** @returns what follows the map */
  #takeMap(text: TextMap, data: Buffer): Buffer {
    const bytes = data.subarray(0, sector - this.#sector.length);
    const rest = data.subarray(bytes.length);
    this.#sector = Buffer.concat([this.#sector, bytes]);
    if (this.#sector.length < sector && this.#dataBytes > 0) return rest;
    if (text.take(this.#sector)) {
      this.#text = undefined;
      this.#map?.close(rest.length + this.#dataBytes);
    }
    this.#sector = Buffer.alloc(0);
    return rest;
  }
}
