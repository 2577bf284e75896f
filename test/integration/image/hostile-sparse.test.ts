import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Hostile, HostileStore, MiB } from '../../support/hostile-store.js';
import { paxHeader, type SparseHeader, type TarEntry, tarOf } from '../../support/tar-bytes.js';

/** Archives with maps of holes that are made to do harm: each is refused with a reason, and nothing of it stays. */

let lab: HostileStore;

beforeAll(async () => {
  lab = await HostileStore.create();
});
afterAll(() => lab.remove());

const sector = 512;
const data = (sectors: number): Buffer => Buffer.alloc(sectors * sector, 0x90);
const write = (bytes: Buffer) => writeFile(lab.at('image'), bytes);
const archive = (...entries: TarEntry[]) => write(tarOf(entries));
const gnu = (map: SparseHeader['map'], realBytes = MiB, more: Partial<TarEntry & SparseHeader> = {}): TarEntry => ({
  ...{ name: 'disk.img', type: 'S', content: data(map.reduce((sum, [, length]) => sum + length, 0) / sector) },
  ...{ sparse: { map, realBytes, isEndless: more.isEndless ?? false } },
  ...more,
});
const pax = (text: string, sectors: number, records: Record<string, string> = {}): TarEntry[] => [
  paxHeader(
    Object.entries({ major: '1', minor: '0', name: 'disk.img', realsize: String(MiB), ...records }).map(([key, value]) => [
      `GNU.sparse.${key}`,
      value,
    ]),
  ),
  {
    name: 'GNUSparseFile.0/disk.img',
    content: Buffer.concat([Buffer.from(text.padEnd(Math.ceil(text.length / sector) * sector, '\0')), data(sectors)]),
  },
];
const paxInHeader = (records: Array<[string, string]>, sectors: number): TarEntry[] => [
  paxHeader(records.map(([key, value]) => [`GNU.sparse.${key}`, value])),
  { name: 'disk.img', content: data(sectors) },
];
const many = (count: number): Array<[number, number]> => Array.from({ length: count }, (_, index) => [2 * sector * index, sector]);

/** The same block again and again: each says that another follows. */
function endlessMap(): Buffer {
  const map = Array.from({ length: 25 }, () => [0, 0] as const);
  const begin = tarOf([gnu(map, MiB, { isEndless: true })]).subarray(0, 2 * sector);
  return Buffer.concat([begin, Buffer.alloc(50_000 * sector, begin.subarray(sector))]);
}

const archives: Hostile[] = [
  {
    what: 'pieces that overlap',
    make: () =>
      archive(
        gnu([
          [0, 1024],
          [512, 512],
        ]),
      ),
    says: /not in ascending order/,
  },
  {
    what: 'pieces that descend',
    make: () =>
      archive(
        gnu([
          [4096, 512],
          [0, 512],
        ]),
      ),
    says: /not in ascending order/,
  },
  {
    what: 'pieces that descend in a block after the header',
    make: () => archive(gnu([...many(30), [0, 512]])),
    says: /not in ascending order/,
  },
  { what: 'a piece beyond the end of the file', make: () => archive(gnu([[MiB, 512]])), says: /exceeds the file/ },
  { what: 'a piece across the end of the file', make: () => archive(gnu([[MiB - 512, 1024]])), says: /exceeds the file/ },
  {
    what: 'an empty piece beyond the end',
    make: () =>
      archive(
        gnu([
          [0, 512],
          [2 * MiB, 0],
        ]),
      ),
    says: /exceeds the file/,
  },
  {
    what: 'pieces of parts of sectors',
    make: () =>
      archive(
        gnu(
          [
            [0, 100],
            [512, 412],
          ],
          MiB,
          { content: data(1) },
        ),
      ),
    says: /incomplete sectors/,
  },
  { what: 'less data than the map says', make: () => archive(gnu([[0, 1024]], MiB, { content: data(1) })), says: /its map says 1024/ },
  { what: 'more data than the map says', make: () => archive(gnu([[0, 512]], MiB, { content: data(2) })), says: /its map says 512/ },
  { what: 'a file of 4 PiB', make: () => archive(gnu([[0, 512]], 2 ** 52)), says: /contains more than 64 GiB/ },
  { what: 'a file of 4 EiB', make: () => archive(gnu([[0, 512]], 2 ** 62)), says: /an invalid number/ },
  {
    what: 'a file larger than --max-size',
    make: () => archive(gnu([[0, 512]], 2 * MiB)),
    says: /contains more than 1 MiB/,
    request: { maxBytes: MiB },
  },
  {
    what: 'blocks of a map without end',
    make: () => write(endlessMap()),
    says: /more than 1000000 entries/,
  },
  {
    what: 'a map that continues in the next header',
    make: () => archive(gnu(many(4), MiB, { isEndless: true }), { name: 'x', content: data(1) }),
    says: /a sparse file|invalid number|gaps/,
  },
  {
    what: 'a map that continues after a gap',
    make: () => archive(gnu([[0, 512]], MiB, { isEndless: true })),
    says: /has gaps/,
  },
  {
    what: 'an archive that ends in the blocks of a map',
    make: () => write(tarOf([gnu(many(100))]).subarray(0, 3 * sector + 100)),
    says: /ends in the map/,
  },
  {
    what: 'an archive that ends after the header of a map',
    make: () => write(tarOf([gnu(many(100))]).subarray(0, sector)),
    says: /ends in the map/,
  },
  { what: 'an archive that ends in its data', make: () => write(tarOf([gnu(many(100))]).subarray(0, 20 * sector)), says: /Truncated/ },
  {
    what: 'another size in an extended header',
    make: () => archive(paxHeader([['size', '1024']]), gnu([[0, 512]])),
    says: /two sizes/,
  },
  {
    what: 'a link with a map',
    make: () => archive(paxHeader([['GNU.sparse.major', '1']]), { name: 'disk.img', type: '2', link: '/etc/shadow' }),
    says: /contains no disk/,
  },
  { what: 'a map in the data that overlaps', make: () => archive(...pax('2\n0\n1024\n512\n512\n', 3)), says: /not in ascending order/ },
  { what: 'a map in the data that exceeds the file', make: () => archive(...pax(`1\n${MiB}\n512\n`, 1)), says: /exceeds the file/ },
  { what: 'a map in the data without numbers', make: () => archive(...pax('1\n0x10\n512\n', 1)), says: /an invalid number/ },
  { what: 'a map in the data with a long number', make: () => archive(...pax(`1\n${'0'.repeat(9000)}\n`, 1)), says: /an invalid number/ },
  { what: 'a map in the data that is all of it', make: () => archive(...pax('9\n0\n512\n', 0)), says: /an invalid number|ends in its map/ },
  {
    what: 'a map in the data with an entry that is empty',
    make: () => archive(pax('', 0)[0] as TarEntry, { name: 'disk.img', content: Buffer.alloc(0) }),
    says: /ends in its map/,
  },
  {
    what: 'a map in the data that is cut',
    make: () => archive(pax('', 0)[0] as TarEntry, { name: 'disk.img', content: Buffer.from('2\n0\n512\n') }),
    says: /ends in its map/,
  },
  {
    what: 'an archive that ends in a map in the data',
    make: () => write(tarOf(pax(`900\n${'0\n0\n'.repeat(900)}`, 0)).subarray(0, 5 * sector)),
    says: /ends in the map/,
  },
  { what: 'a map in the data of 10^9 pieces', make: () => archive(...pax('1000000000\n', 0)), says: /more than 1000000 entries/ },
  {
    what: 'a file of 4 EiB in an extended header',
    make: () => archive(...pax('0\n', 0, { realsize: String(2n ** 62n) })),
    says: /invalid/,
  },
  { what: 'a negative size in an extended header', make: () => archive(...pax('0\n', 0, { realsize: '-1' })), says: /invalid number/ },
  { what: 'a format of the future', make: () => archive(...pax('0\n', 0, { major: '2' })), says: /of an unknown version/ },
  {
    what: 'half a piece in an extended header',
    make: () =>
      archive(
        ...paxInHeader(
          [
            ['size', '1024'],
            ['map', '0,512,512'],
          ],
          1,
        ),
      ),
    says: /is incomplete/,
  },
  {
    what: 'a piece across the end in an extended header',
    make: () =>
      archive(
        ...paxInHeader(
          [
            ['size', '1024'],
            ['offset', '1024'],
            ['numbytes', '512'],
          ],
          1,
        ),
      ),
    says: /exceeds the file/,
  },
  {
    what: 'the data of a sparse file whose map was lost',
    make: () => archive(pax('1\n0\n512\n', 1)[1] as TarEntry),
    says: /a sparse file without a map/,
  },
];

describe('a hostile sparse archive', () => {
  it.each(archives)('is refused: $what', (hostile) => lab.assertRefused(hostile));

  it('with a large hole is stopped by a signal', async () => {
    await archive(gnu([[0, 512]], 2 ** 40));
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 100);
    const error = await lab.refusal({ maxBytes: 2 ** 41, signal: controller.signal });
    expect(error.code).toBe('INTERRUPTED');
  });
});
