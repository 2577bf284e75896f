import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CowherdError } from '../../../../src/core/errors.js';
import { EntryBody } from '../../../../src/core/image/formats/entry-body.js';
import { extendMap, gnuMap, paxMap, type SparseMap, sparseRecords } from '../../../../src/core/image/formats/sparse.js';
import { paxHeader, tarOf } from '../../../support/tar-bytes.js';

const sector = 512;
const damaged = (why: string): CowherdError => new CowherdError('BASE_REFUSED', why, { hint: 'Copy it again.' });

/** A file with data and holes of whole sectors, at most 60 of each. */
const files = fc
  .array(fc.record({ hole: fc.nat(3), data: fc.integer({ min: 1, max: 3 }), byte: fc.integer({ min: 1, max: 255 }) }), { maxLength: 60 })
  .chain((pieces) => fc.record({ pieces: fc.constant(pieces), last: fc.nat(5 * sector), cut: fc.nat(sector - 1) }))
  .map(({ pieces, last, cut }) => {
    const map: Array<[number, number]> = [];
    const whole: Buffer[] = [];
    let position = 0;
    for (const [index, { hole, data, byte }] of pieces.entries()) {
      // The data may end within a sector, and is then the end of the file.
      const length = data * sector - (index === pieces.length - 1 ? cut : 0);
      map.push([position + hole * sector, length]);
      whole.push(Buffer.alloc(hole * sector), Buffer.alloc(length, byte));
      position += hole * sector + length;
    }
    const content = Buffer.concat([...whole, Buffer.alloc(last)]);
    return { map: [...map, [content.length, 0] as [number, number]], content };
  });

const dataOf = (content: Buffer, map: Array<[number, number]>): Buffer =>
  Buffer.concat(map.map(([offset, length]) => content.subarray(offset, offset + length)));

/** What comes out, if the bytes arrive in chunks of that size. */
function contentOf(body: EntryBody, bytes: Buffer, chunk: number): Buffer {
  body.begin();
  const parts: Buffer[] = [];
  const collect = (pieces: ReturnType<EntryBody['take']>): void => {
    for (const { part } of pieces) if (part !== undefined) parts.push(typeof part === 'number' ? Buffer.alloc(part) : part);
  };
  for (let start = 0; start < bytes.length; start += chunk) collect(body.take(bytes.subarray(start, start + chunk)));
  expect(body.paddedBytes).toBe(0);
  collect(body.end());
  return Buffer.concat(parts);
}

const padded = (bytes: number): number => Math.ceil(bytes / sector) * sector;

/** Reads the map of an entry of type S. @returns it, and where its data begins */
function readGnu(archive: Buffer): { map: SparseMap; start: number } {
  const { map, isExtended } = gnuMap(archive.subarray(0, sector), damaged);
  let start = sector;
  for (let follows = isExtended; follows; start += sector) follows = extendMap(map, archive.subarray(start, start + sector));
  return { map, start };
}

describe('a sparse file in an archive', () => {
  it('of GNU tar gets its holes back, however its bytes arrive', () => {
    fc.assert(
      fc.property(files, fc.integer({ min: 1, max: 2000 }), ({ map, content }, chunk) => {
        const data = dataOf(content, map);
        const archive = tarOf([{ name: 'a', type: 'S', content: data, sparse: { map, realBytes: content.length } }], { isEnded: false });
        const read = readGnu(archive);
        const length = { dataBytes: data.length, paddedBytes: padded(data.length) };
        const body = new EntryBody(length, { name: 'a', bytes: content.length }, { map: read.map, isInData: false });
        expect(contentOf(body, archive.subarray(read.start), chunk).equals(content)).toBe(true);
      }),
    );
  });

  it('with its map in its data gets its holes back, however its bytes arrive', () => {
    fc.assert(
      fc.property(files, fc.integer({ min: 1, max: 2000 }), ({ map, content }, chunk) => {
        const text = Buffer.from(`${map.length}\n${map.map(([offset, length]) => `${offset}\n${length}\n`).join('')}`);
        const bytes = Buffer.concat([text, Buffer.alloc(padded(text.length) - text.length), dataOf(content, map)]);
        const records = [
          ['major', '1'],
          ['minor', '0'],
          ['realsize', String(content.length)],
        ] as const;
        const length = { dataBytes: bytes.length, paddedBytes: padded(bytes.length) };
        const body = new EntryBody(length, { name: 'a', bytes: content.length }, paxMap(records, damaged));
        const archived = Buffer.concat([bytes, Buffer.alloc(padded(bytes.length) - bytes.length)]);
        expect(contentOf(body, archived, chunk).equals(content)).toBe(true);
      }),
    );
  });

  it('has offsets beyond 8 GiB in binary', () => {
    const sparse = { map: [[2 ** 40, 512]] as const, realBytes: 2 ** 41 };
    const { map } = readGnu(tarOf([{ name: 'a', type: 'S', sparse }]));
    expect([map.realBytes, map.at(0), map.at(1)]).toEqual([2 ** 41, { offset: 2 ** 40, length: 512 }, { offset: 2 ** 41, length: 0 }]);
  });

  it('has records of its own, in their order', () => {
    const { content = Buffer.alloc(0) } = paxHeader([
      ['path', 'x'],
      ['GNU.sparse.name', 'bücher=1.img'],
      ['GNU.sparse.offset', '0'],
      ['GNU.sparse.offset', '1'],
    ]);
    expect(sparseRecords(content.toString())).toEqual([
      ['name', 'bücher=1.img'],
      ['offset', '0'],
      ['offset', '1'],
    ]);
    expect(sparseRecords('99 GNU.sparse.name=x\n')).toEqual([]);
  });

  it('of random bytes is read, or refused', () => {
    const digits = fc.constantFrom('0', '7', '\0', ' ', '\x80', '\xff');
    const noise = fc.array(digits, { minLength: 1024, maxLength: 1024 }).map((letters) => Buffer.from(letters.join(''), 'latin1'));
    const values = fc.oneof(fc.constantFrom('', '0', '512', '0,512', '-1', '1e3', ' 1', '9'.repeat(20)), fc.string());
    const records = fc.array(fc.tuple(fc.constantFrom('major', 'minor', 'realsize', 'size', 'map', 'offset', 'numbytes'), values));
    fc.assert(
      fc.property(noise, records, fc.integer({ min: 1, max: 1024 }), (bytes, list, chunk) => {
        for (const read of [
          () => readGnu(bytes),
          () => contentOf(new EntryBody({ dataBytes: 1024, paddedBytes: 1024 }, undefined, paxMap(list, damaged)), bytes, chunk),
          () => {
            const map = paxMap(
              [
                ['major', '1'],
                ['minor', '0'],
                ['realsize', '4096'],
              ],
              damaged,
            );
            contentOf(new EntryBody({ dataBytes: 1024, paddedBytes: 1024 }, { name: 'a', bytes: 4096 }, map), bytes, chunk);
          },
        ]) {
          try {
            read();
          } catch (error) {
            expect(error).toBeInstanceOf(CowherdError);
          }
        }
      }),
    );
  });
});
