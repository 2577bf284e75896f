import type { CowherdError } from '../../errors.js';

/**
 * Files in tar archives that are stored without their holes, and with a map of their data: `tar --sparse`. Sources: GNU tar's
 * src/sparse.c, and "Storing Sparse Files" in its manual.
 */

/** Makes the error for an archive that cannot be read. */
export type Damaged = (why: string) => CowherdError;

/** Data of the file, or the length of a hole in bytes. */
export type Part = Buffer | number;

const sector = 512;
/** Most pieces of data that a map may have. They are in memory. */
export const mostSegments = 1_000_000;

/** Where the data of a file is. Maps that no tar writes are refused: programs read them differently. */
export class SparseMap {
  /** Size of the whole file, in bytes. */
  readonly realBytes: number;
  readonly damaged: Damaged;
  /** Offset and length of each piece, one after the other: objects would need several times the memory. */
  readonly #numbers: number[] = [];
  #count = 0;
  #end = 0;
  #dataBytes = 0;

  constructor(realBytes: number, damaged: Damaged) {
    this.realBytes = realBytes;
    this.damaged = damaged;
  }

  /** @throws BASE_REFUSED */
  add(offset: number, length: number): void {
    this.#count++;
    if (this.#count > mostSegments) throw this.damaged(`the map of a sparse file has more than ${mostSegments} entries`);
    if (offset < this.#end) throw this.damaged('the map of a sparse file is not in ascending order');
    if (offset > this.realBytes || length > this.realBytes - offset) throw this.damaged('the map of a sparse file exceeds the file');
    this.#end = offset + length;
    if (length === 0) return;
    // GNU tar begins each piece in a sector of the archive, and other programs do not.
    if (this.#dataBytes % sector !== 0) throw this.damaged('the map of a sparse file has pieces of incomplete sectors');
    this.#dataBytes += length;
    this.#numbers.push(offset, length);
  }

  /** @param dataBytes how much data the archive has; @throws BASE_REFUSED */
  close(dataBytes: number): void {
    if (this.#dataBytes !== dataBytes)
      throw this.damaged(`a sparse file has ${dataBytes} bytes of data, and its map says ${this.#dataBytes}`);
  }

  /** The piece with that number; an empty one at the end of the file follows the last. */
  at(index: number): { offset: number; length: number } {
    return { offset: this.#numbers[2 * index] ?? this.realBytes, length: this.#numbers[2 * index + 1] ?? 0 };
  }
}

/** Restores the holes, from the data of a map that is closed. */
export class SparseContent {
  readonly #map: SparseMap;
  #index = 0;
  #position = 0;

  constructor(map: SparseMap) {
    this.#map = map;
  }

  *take(data: Buffer): Generator<Part> {
    for (let rest = data; rest.length > 0; ) {
      const { offset, length } = this.#map.at(this.#index);
      yield* this.#holeUpTo(offset);
      const bytes = rest.subarray(0, offset + length - this.#position);
      yield bytes;
      this.#position += bytes.length;
      rest = rest.subarray(bytes.length);
      if (this.#position === offset + length) this.#index++;
    }
  }

  /** What follows the last piece. */
  end(): Iterable<Part> {
    return this.#holeUpTo(this.#map.realBytes);
  }

  *#holeUpTo(offset: number): Generator<Part> {
    // A piece may come in several parts.
    if (offset <= this.#position) return;
    yield offset - this.#position;
    this.#position = offset;
  }
}

const entryBytes = 24;
const headerMap = { start: 386, entries: 4, flag: 482, realSize: 483 };
const extensionMap = { start: 0, entries: 21, flag: 504 };

/**
 * The map in the header of an entry of type S.
 * @returns isExtended: another block with entries follows, for {@link extendMap}
 * @throws BASE_REFUSED
 */
export function gnuMap(header: Buffer, damaged: Damaged): { map: SparseMap; isExtended: boolean } {
  const map = new SparseMap(fieldOf(header, headerMap.realSize, damaged), damaged);
  return { map, isExtended: addEntries(map, header, headerMap) };
}

/** @returns whether another block follows; @throws BASE_REFUSED */
export function extendMap(map: SparseMap, block: Buffer): boolean {
  return addEntries(map, block, extensionMap);
}

function addEntries(map: SparseMap, block: Buffer, { start, entries, flag }: typeof extensionMap): boolean {
  let isAtEnd = false;
  for (let place = start; place < start + entries * entryBytes; place += entryBytes) {
    const isUnused = block[place + 12] === 0;
    if (isAtEnd && !isUnused) throw map.damaged('the map of a sparse file has gaps');
    isAtEnd = isUnused;
    if (!isUnused) map.add(fieldOf(block, place, map.damaged), fieldOf(block, place + 12, map.damaged));
  }
  const isExtended = block[flag] !== 0;
  if (isExtended && isAtEnd) throw map.damaged('the map of a sparse file has gaps');
  return isExtended;
}

/** A number in 12 bytes: octal digits, or binary after a byte 0x80. */
function fieldOf(block: Buffer, place: number, damaged: Damaged): number {
  const field = block.subarray(place, place + 12);
  const octal = /^ *([0-7]{1,12})[ \0]*$/.exec(field.toString('latin1'))?.[1];
  if (octal !== undefined) return Number.parseInt(octal, 8);
  return field[0] === 0x80 ? safe(Number(BigInt(`0x${field.toString('hex', 1)}`)), damaged) : safe(Number.NaN, damaged);
}

function safe(number: number, damaged: Damaged): number {
  if (!Number.isSafeInteger(number)) throw damaged('the map of a sparse file has an invalid number');
  return number;
}

/** Digits of 2^53. */
const mostDigits = 16;

function decimal(text: string | undefined, damaged: Damaged): number {
  return safe(text !== undefined && text.length <= mostDigits && /^\d+$/.test(text) ? Number(text) : Number.NaN, damaged);
}

/** Records of an extended header about a sparse file, in their order, without the prefix `GNU.sparse.`. */
export function sparseRecords(text: string): Array<[key: string, value: string]> {
  return text.split('\n').flatMap((line): Array<[string, string]> => {
    const [, length, key, value] = /^(\d{1,9}) GNU\.sparse\.([a-z]+)=(.*)$/.exec(line) ?? [];
    const isWhole = Number(length) === Buffer.byteLength(line) + 1;
    return isWhole && key !== undefined && value !== undefined ? [[key, value]] : [];
  });
}

/**
 * What the records say: formats 0.0, 0.1 and 1.0.
 * @returns isInData: the map is at the beginning of the data, for {@link TextMap}
 * @throws BASE_REFUSED
 */
export function paxMap(
  records: ReadonlyArray<readonly [key: string, value: string]>,
  damaged: Damaged,
): { map: SparseMap; name: string | undefined; isInData: boolean } {
  const values = new Map(records);
  const name = values.get('name');
  if (values.has('major') || values.has('minor')) {
    const version = `${values.get('major')}.${values.get('minor')}`;
    if (version !== '1.0') throw damaged('it has a sparse file of an unknown version');
    return { map: new SparseMap(decimal(values.get('realsize'), damaged), damaged), name, isInData: true };
  }
  const map = new SparseMap(decimal(values.get('size'), damaged), damaged);
  const list = values.get('map');
  const numbers = list?.split(',') ?? records.filter(([key]) => key === 'offset' || key === 'numbytes').map(([, value]) => value);
  if (numbers.length % 2 !== 0) throw damaged('the map of a sparse file is incomplete');
  for (let index = 0; index < numbers.length; index += 2) map.add(decimal(numbers[index], damaged), decimal(numbers[index + 1], damaged));
  return { map, name, isInData: false };
}

/** Reads the map that begins the data in format 1.0: lines with the number of pieces, then with the offset and length of each. */
export class TextMap {
  readonly #map: SparseMap;
  #line = '';
  /** Numbers that follow; undefined before the first, which says so. */
  #left: number | undefined;
  #offset: number | undefined;

  constructor(map: SparseMap) {
    this.#map = map;
  }

  /**
   * @param data a whole sector of it; what follows the map in its last sector is ignored
   * @returns whether the map is complete
   * @throws BASE_REFUSED
   */
  take(data: Buffer): boolean {
    const { damaged } = this.#map;
    const lines = (this.#line + data.toString('latin1')).split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) {
      this.#number(decimal(line, damaged));
      if (this.#left === 0) return true;
    }
    if (this.#line.length > mostDigits) throw damaged('the map of a sparse file has an invalid number');
    return false;
  }

  #number(value: number): void {
    if (this.#left === undefined) {
      if (value > mostSegments) throw this.#map.damaged(`the map of a sparse file has more than ${mostSegments} entries`);
      this.#left = 2 * value;
      return;
    }
    this.#left--;
    if (this.#offset === undefined) this.#offset = value;
    else {
      this.#map.add(this.#offset, value);
      this.#offset = undefined;
    }
  }
}
