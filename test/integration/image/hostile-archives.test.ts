import { readFile, rm, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Hostile, HostileStore, MiB } from '../../support/hostile-store.js';
import { paxHeader, type TarEntry, tarHeader, tarOf } from '../../support/tar-bytes.js';

/** Archives that are made to do harm: each is refused with a reason, and nothing of it stays. */

let lab: HostileStore;
const at = (...parts: string[]): string => lab.at(...parts);
const run = (command: string) => lab.run(command);

beforeAll(async () => {
  lab = await HostileStore.create();
});
afterAll(() => lab.remove());

const archive = (...entries: TarEntry[]) => writeFile(at('image'), tarOf(entries));
const disk = (name = 'disk.qcow2'): TarEntry => ({ name, content: lab.golden });
const archives: Hostile[] = [
  { what: 'a truncated archive', make: () => writeFile(at('image'), tarOf([disk()]).subarray(0, 4096)), says: /Truncated/ },
  {
    what: 'an archive that ends within a header',
    make: () => writeFile(at('image'), tarOf([disk()], { isEnded: false }).subarray(0, -100)),
    says: /cannot be read/,
  },
  { what: 'an archive without its end', make: () => writeFile(at('image'), tarOf([disk()], { isEnded: false })), says: /no end mark/ },
  { what: 'a truncated tar.gz', make: () => run('tar -cz golden.qcow2 | head -c 50000 > image'), says: /cannot be unpacked with gzip/ },
  { what: 'a wrong checksum', make: () => writeFile(at('image'), tarOf([disk()]).fill(1, 0, 1)), says: /checksum/ },
  { what: 'no disk', make: () => archive({ name: 'README', content: Buffer.from('nothing') }), says: /contains no disk/ },
  {
    what: 'no entry',
    make: () => writeFile(at('image'), Buffer.concat([tarHeader({ name: 'd/', type: '5' }), Buffer.alloc(1024)])),
    says: /no disk/,
  },
  { what: 'two disks', make: () => archive(disk('../../etc/a.qcow2'), disk('/etc/b.qcow2')), says: /contains 2 disks/ },
  {
    what: 'a symbolic link to /etc/shadow',
    make: () => archive({ name: 'disk.qcow2', type: '2', link: '/etc/shadow' }),
    says: /contains no disk/,
    request: {},
  },
  {
    what: 'a symbolic link to /etc/shadow, by its name',
    make: () => archive({ name: 'disk.qcow2', type: '2', link: '/etc/shadow' }),
    says: /contains no file disk.qcow2/,
    request: { disk: 'disk.qcow2' },
  },
  {
    what: 'a hard link to /etc/shadow',
    make: () => archive({ name: 'disk.qcow2', type: '1', link: '/etc/shadow' }),
    says: /contains no disk/,
  },
  { what: 'a device', make: () => archive({ name: 'disk.img', type: '4' }, { name: 'disk2.img', type: '3' }), says: /contains no disk/ },
  { what: 'a FIFO', make: () => archive({ name: 'disk.img', type: '6' }), says: /contains no disk/ },
  { what: 'an unknown type', make: () => archive({ ...disk(), type: 'Z' }), says: /contains no disk/ },
  { what: 'a huge extended header', make: () => archive(paxHeader([['path', 'x'.repeat(MiB)]]), disk()), says: /a header of \d+ bytes/ },
  {
    what: 'a huge long name',
    make: () => archive({ name: '././@LongLink', type: 'L', content: Buffer.alloc(MiB, 'x') }, disk()),
    says: /a header of \d+ bytes/,
  },
  {
    what: 'headers without an entry',
    make: () => archive(...Array.from({ length: 50_000 }, () => paxHeader([['comment', 'x']]))),
    says: /more than 40000 headers/,
  },
  {
    what: '100,000 entries',
    make: () => archive(...Array.from({ length: 100_000 }, (_, index) => ({ name: `f${index}` }))),
    says: /more than 10000 entries/,
  },
  { what: 'an entry longer than the archive', make: () => archive({ ...disk(), size: lab.golden.length * 2 }), says: /Truncated|checksum/ },
  {
    what: 'an entry shorter than its content',
    make: () => archive({ ...disk(), size: 1024 }),
    says: /checksum|cannot be read|corrupt|truncated/,
  },
  {
    what: 'an entry of 8 GiB',
    make: () => archive({ ...disk(), size: 0o77777777777 }),
    says: /a file has 8589934591 bytes/,
    request: { maxBytes: MiB },
  },
  {
    what: 'an entry of 10^300 bytes',
    make: () => archive(paxHeader([['size', '1e300']]), disk()),
    says: /says that a file has 1e\+300 bytes/,
  },
  {
    what: 'an entry of half a byte',
    make: () => archive(paxHeader([['size', '512.5']]), disk()),
    says: /says that a file has 512.5 bytes/,
  },
  { what: 'a negative size', make: () => writeFile(at('image'), negativeSize()), says: /cannot be read|no disk|checksum/ },
  {
    what: 'a page in place of a disk',
    make: () => archive({ name: 'd.qcow2', content: Buffer.from('<!DOCTYPE html>'.padEnd(600)) }),
    says: /^d.qcow2 in .* is an HTML page$/,
  },
  {
    what: 'a raw disk that says that it is qcow2',
    make: () => archive({ name: 'd.qcow2', content: Buffer.alloc(512 * 9, 0x90) }),
    says: /is not a qcow2 image/,
  },
  {
    what: 'a disk that ends within a sector',
    make: () => archive({ name: 'd.img', content: Buffer.alloc(700, 0x90) }),
    says: /not a multiple of 512/,
  },
  {
    what: 'a gzip file whose tool would be the archive parser',
    make: () => writeFile(at('image'), parserBomb()),
    says: /cannot be unpacked with gzip/,
  },
];

function negativeSize(): Buffer {
  const bytes = tarOf([disk()]);
  bytes.fill(0xff, 124, 136);
  bytes.write(' '.repeat(8), 148);
  const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return bytes;
}

/** Begins like a gzip file, and is an archive nevertheless. */
function parserBomb(): Buffer {
  return tarOf([{ ...disk(), name: '\x1f\x8b\x08' }]);
}

describe('a hostile archive', () => {
  it.each(archives)('is refused: $what', (hostile) => lab.assertRefused(hostile));

  it('whose names lead elsewhere is imported, and nothing is written there', async () => {
    await archive({ name: '../../../../etc/cwt-hostile.txt', content: Buffer.from('x') }, disk('/etc/../tmp/cwt-hostile.qcow2'));
    const { base } = await lab.add();
    await execa('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', at('golden.qcow2'), base.path]);
    for (const place of ['/etc/cwt-hostile.txt', '/tmp/cwt-hostile.qcow2'])
      await expect(readFile(place)).rejects.toMatchObject({ code: 'ENOENT' });
    await lab.store.remove(base);
    await rm(at('store', 'bases', 'hostile'), { recursive: true, force: true });
  });

  it('has names that are shown without control characters', async () => {
    await archive(disk('a\u001b[2J\u0007\n.qcow2'), disk('b.qcow2'));
    const error = await lab.refusal();
    expect(error.details).toEqual(['a\\x1b[2J\\x07\\n.qcow2', 'b.qcow2']);
    expect(error.hint).toBe(`Name one: cowherd base add ${at('image')} --disk b.qcow2`);
    await archive({ name: 'a\u001b[2J.qcow2', content: Buffer.from('<html>'.padEnd(600)) });
    expect((await lab.refusal()).message).toBe(`a\\x1b[2J.qcow2 in ${at('image')} is an HTML page`);
  });
});
