import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CowherdError } from '../../../../src/core/errors.js';
import { archiveRefusal, baseOf, isDiskEntry, matchOf, shownName } from '../../../../src/core/image/formats/archive.js';
import { detect, titleOf, uncompressedName } from '../../../../src/core/image/formats/detect.js';
import { vdiSize } from '../../../../src/core/image/formats/vdi.js';
import { vhdSize } from '../../../../src/core/image/formats/vhd.js';
import { regionTable, vhdxMetadata, vhdxSize } from '../../../../src/core/image/formats/vhdx.js';
import { vmdkHeadBytes, vmdkSize, vmdkTailBytes } from '../../../../src/core/image/formats/vmdk.js';
import { parseUnpackedBytes } from '../../../../src/core/limits.js';
import { importName } from '../../../../src/core/names.js';

const none = Buffer.alloc(0);
const headOf = (text: string, offset = 0, encoding: BufferEncoding = 'latin1'): Buffer => {
  const head = Buffer.alloc(512);
  head.write(text, offset, encoding);
  return head;
};

/** A VHD footer with a valid checksum. */
function vhdFooter(type: number, size: bigint): Buffer {
  const footer = headOf('conectix');
  footer.writeBigUInt64BE(size, 48);
  footer.writeUInt32BE(type, 60);
  footer.writeUInt32BE(~footer.reduce((sum, byte) => sum + byte, 0) >>> 0, 64);
  return footer;
}

const descriptor = (changes: Record<string, string> = {}): string => {
  const lines = { CID: 'fffffffe', parentCID: 'ffffffff', createType: '"monolithicSparse"', ...changes };
  return `# Disk DescriptorFile\n${Object.entries(lines)
    .map(([key, value]) => `${key}=${value}`)
    .join('\n')}\nRW 2048 SPARSE "a.vmdk"\n`;
};

function vmdk(text = descriptor(), { capacity = 2048n, descriptorAt = 1n, tables = 21n } = {}): Buffer {
  const head = Buffer.alloc(vmdkHeadBytes);
  head.write('KDMV');
  head.writeBigUInt64LE(capacity, 12);
  head.writeBigUInt64LE(descriptorAt, 28);
  head.writeBigUInt64LE(tables, 56);
  head.write(text, 512, 'latin1');
  return head;
}

describe('what an image file is', () => {
  it.each([
    ['gzip', headOf('1f8b08', 0, 'hex')],
    ['xz', headOf('fd377a585a00', 0, 'hex')],
    ['zstd', headOf('28b52ffd', 0, 'hex')],
    ['bzip2', headOf('BZh91AY&SY')],
    ['bzip2', headOf('425a6835177245385090', 0, 'hex')],
    ['tar', headOf('ustar', 257)],
    ['vmdk', headOf('KDMV')],
    ['vmdk', headOf('COWD')],
    ['vmdk', headOf('# Disk DescriptorFile')],
    ['vhdx', headOf('vhdxfile')],
    ['vpc', headOf('conectix')],
    ['vdi', headOf('7f10dabe', 64, 'hex')],
    [undefined, headOf('QFI\xfb')],
    [undefined, headOf('BZh, a text')],
    [undefined, Buffer.alloc(512)],
    [undefined, none],
  ])('is found out by its content: %s', (kind, head) => {
    expect(detect(head, none)).toBe(kind);
  });

  it('may be said by its last sector, if that is a valid footer and not the end of a qcow2 image', () => {
    const footer = vhdFooter(2, 1024n);
    expect(detect(Buffer.alloc(512), footer)).toBe('vpc');
    expect(titleOf('vpc')).toBe('vhd');
    footer[100] = 1;
    expect(detect(Buffer.alloc(512), footer)).toBeUndefined();
    expect(detect(headOf('QFI\xfb'), vhdFooter(2, 1024n))).toBeUndefined();
  });

  it('gives its content and its base image a name', () => {
    expect(uncompressedName('disk.img.xz', 'xz')).toBe('disk.img');
    expect(uncompressedName('disk.TGZ', 'gzip')).toBe('disk.tar');
    expect(uncompressedName('disk.box', 'gzip')).toBe('disk.box');
    expect(uncompressedName('.xz', 'xz')).toBe('');
    expect(importName('Debian-12.qcow2.xz', undefined)).toBe('debian-12');
    expect(importName('golden.tar.gz', undefined)).toBe('golden');
    expect(importName('golden.tgz', undefined)).toBe('golden');
    expect(importName('debian-12.5.xz', undefined)).toBe('debian-12-5');
  });

  it('has a limit for its size, which is written with a unit', () => {
    expect(parseUnpackedBytes('512MiB')).toBe(512 * 1024 ** 2);
    expect(parseUnpackedBytes('2g')).toBe(2 * 1024 ** 3);
    for (const text of ['', '0G', '12', '65TiB', '-1G', '1e9G', '1GiBs']) expect(() => parseUnpackedBytes(text)).toThrow('is not a size');
  });
});

describe('a VMDK', () => {
  const sizeOf = (head: Buffer, tail = Buffer.alloc(vmdkTailBytes)): bigint => vmdkSize('a.vmdk', head, tail);

  it('with all its data has the size in its header, or in its footer', () => {
    expect(sizeOf(vmdk())).toBe(1024n ** 2n);
    const tail = Buffer.alloc(vmdkTailBytes);
    tail.write('KDMV', 512);
    tail.writeBigUInt64LE(4096n, 524);
    expect(sizeOf(vmdk(descriptor({ createType: '"streamOptimized"' }), { tables: 2n ** 64n - 1n }), tail)).toBe(2n * 1024n ** 2n);
    expect(() => sizeOf(vmdk(descriptor(), { tables: 2n ** 64n - 1n }))).toThrow('has no footer');
  });

  it.each([
    ['a capacity of 0', vmdk(descriptor(), { capacity: 0n }), 'without data of its own'],
    ['no embedded descriptor', vmdk(descriptor(), { descriptorAt: 0n }), 'its descriptor is another file'],
    ['a descriptor elsewhere', vmdk(descriptor(), { descriptorAt: 2n }), 'its descriptor is another file'],
    ['a parent', vmdk(descriptor({ parentCID: '12345678' })), 'has a parent'],
    ['a second parent', vmdk(`${descriptor()}parentCID=1\n`), 'has a parent'],
    ['the name of a parent', vmdk(`${descriptor()}parentFileNameHint="/etc/shadow"\n`), 'has a parent'],
    ['the name of a parent behind its end', vmdk(`${descriptor()}\0parentFileNameHint="/etc/shadow"\n`), 'has a parent'],
    ['another type', vmdk(descriptor({ createType: '"monolithicFlat"' })), 'type monolithicFlat'],
    ['a flat extent', vmdk(descriptor().replace(/^RW.*$/m, 'RW 1 FLAT "/etc/shadow" 0')), 'an extent of the type FLAT'],
    ['a second extent', vmdk(`${descriptor()}RW 1 SPARSE "/etc/shadow"\n`), '2 extents'],
    ['no descriptor', vmdk(''), 'has no descriptor'],
    ['2^63 sectors', vmdk(descriptor(), { capacity: 2n ** 63n }), 'larger than 2 PiB'],
    ['only text', headOf('# Disk DescriptorFile'), 'the disk itself is in other files'],
    ['the format of ESX', headOf('COWD'), 'its descriptor is another file'],
  ])('with %s is refused', (_what, head, says) => {
    expect(() => sizeOf(head)).toThrow(says);
  });
});

describe('a VHD', () => {
  const MiB = 1024n ** 2n;

  it('has the size in its footer', () => {
    expect(vhdSize('a.vhd', Buffer.alloc(512), vhdFooter(2, MiB), MiB + 512n)).toBe(MiB);
    expect(vhdSize('a.vhd', vhdFooter(3, 3n * MiB), vhdFooter(3, 3n * MiB), MiB)).toBe(3n * MiB);
  });

  it.each([
    ['a parent', vhdFooter(4, MiB), 'has a parent'],
    ['an unknown type', vhdFooter(5, MiB), 'no readable vhd header'],
    ['the type of a fixed one at its start', vhdFooter(2, MiB), 'no readable vhd header'],
    ['no size', vhdFooter(3, 0n), 'empty disk'],
    ['a part of a sector', vhdFooter(3, 513n), 'no readable vhd header'],
    ['more data than the file', Buffer.alloc(512), 'is truncated'],
  ])('with %s is refused', (_what, head, says) => {
    expect(() => vhdSize('a.vhd', head, vhdFooter(2, 2n * MiB), 2n * MiB)).toThrow(says);
  });
});

describe('entries of an archive', () => {
  const raw = headOf('55aa', 510, 'hex');
  const text = Buffer.from('x'.repeat(512));

  it.each([
    ['box.img', raw, true],
    ['disk', raw, true],
    ['disk.vmdk', headOf('KDMV'), true],
    ['disk.vmdk.gz', headOf('1f8b', 0, 'hex'), true],
    ['page.qcow2', text, true],
    ['logo.png', headOf('\x89PNG\x00'), false],
    ['box.ovf', text, false],
    ['a/Vagrantfile', text, false],
    ['._disk.img', raw, false],
    ['README', text, false],
    ['disk.vmdk', Buffer.from('# Disk DescriptorFile\n'.padEnd(512)), false],
  ])('are disks or not: %s', (name, head, isDisk) => {
    expect(isDiskEntry({ name, bytes: 512, head })).toBe(isDisk);
  });

  it('match a name with or without its directories', () => {
    expect([matchOf('./a/disk.img', 'a/disk.img'), matchOf('a/disk.img', 'disk.img'), matchOf('a/disk.img', 'isk.img')]).toEqual([
      'whole',
      'base',
      undefined,
    ]);
    expect([baseOf('/'), baseOf('a/b/'), baseOf('../../etc/passwd')]).toEqual(['', 'b', 'passwd']);
  });

  it('are shown without control characters and cut, and a hint offers only names that can be typed', () => {
    expect(shownName('a\u001b[2J\n\u202eb')).toBe('a\\x1b[2J\\n\\u202eb');
    expect(shownName('x'.repeat(1000)).length).toBe(200);
    const refusal = (candidates: string[]): CowherdError =>
      archiveRefusal('/a.tar', { count: 2, candidates, others: [] }, undefined, (name) => `--disk ${name}`);
    expect(refusal(['\u001b', 'b.img']).hint).toBe('Name one: --disk b.img');
    expect(refusal(['b.img', 'b.img']).hint).toContain('tar -xf /a.tar');
  });
});

describe('random bytes', () => {
  /** Bytes that begin like the format, so that the parsers get beyond its magic. */
  const begins = (hex: string, length: number, offset = 0) =>
    fc
      .tuple(fc.uint8Array({ maxLength: 600 }), fc.array(fc.tuple(fc.nat(length - 1), fc.uint8Array({ maxLength: 40 })), { maxLength: 12 }))
      .map(([random, pieces]) => {
        const bytes = Buffer.alloc(length);
        bytes.set(random.subarray(0, length));
        for (const [place, piece] of pieces) bytes.set(piece.subarray(0, length - place), place);
        bytes.write(hex, offset, 'hex');
        return bytes;
      });
  const cut = <T extends Buffer>(bytes: fc.Arbitrary<T>) =>
    fc.tuple(bytes, fc.option(fc.nat(70_000))).map(([whole, end]) => (end === null ? whole : whole.subarray(0, end)));

  it.each([
    ['vmdk', '4b444d56', vmdkHeadBytes, 0, (bytes: Buffer) => vmdkSize('x', bytes, bytes.subarray(0, vmdkTailBytes))],
    ['vhd', '636f6e6563746978', 512, 0, (bytes: Buffer) => vhdSize('x', bytes, bytes, BigInt(bytes.length))],
    ['vdi', '7f10dabe', 512, 64, (bytes: Buffer) => vdiSize('x', bytes)],
    ['vhdx regions', '72656769', regionTable.length, 0, (bytes: Buffer) => vhdxMetadata('x', bytes)],
    ['vhdx metadata', '6d65746164617461', 65_536 + 64, 0, (bytes: Buffer) => vhdxSize('x', bytes)],
    [
      'a name',
      '00',
      512,
      0,
      (bytes: Buffer) => [
        detect(bytes, bytes),
        shownName(bytes.toString('latin1')),
        isDiskEntry({ name: bytes.toString(), bytes: 1024, head: bytes }),
      ],
    ],
  ] as const)('as %s are read, or refused with a hint', (_format, magic, length, offset, parse) => {
    fc.assert(
      fc.property(cut(begins(magic, length, offset)), (bytes) => {
        try {
          parse(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(CowherdError);
          expect(error).toMatchObject({ code: 'BASE_REFUSED', hint: expect.stringMatching(/./) });
        }
      }),
      { numRuns: 500 },
    );
  });
});
