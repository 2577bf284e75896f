import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bootSector, readBootMarker } from '../../../../src/core/image/boot-sector.js';
import { blockBytes, nonZeroSegments } from '../../../../src/core/image/overlay.js';
import { assertImportable, imageFormat, parseQcow2Header } from '../../../../src/core/image/qcow2-header.js';

/** A version 3 header by qcow2.txt. */
function header(fields: { backing?: number; crypt?: number; size?: number; incompatible?: number; version?: number } = {}): Buffer {
  const head = Buffer.alloc(512);
  head.write('QFI\xfb', 0, 'latin1');
  head.writeUInt32BE(fields.version ?? 3, 4);
  head.writeBigUInt64BE(BigInt(fields.backing ?? 0), 8);
  head.writeBigUInt64BE(BigInt(fields.size ?? 1024), 24);
  head.writeUInt32BE(fields.crypt ?? 0, 32);
  head.writeBigUInt64BE(BigInt(fields.incompatible ?? 0), 72);
  return head;
}

describe('the qcow2 header', () => {
  const refusal = (fields: Parameters<typeof header>[0]): string => {
    try {
      assertImportable('x.qcow2', parseQcow2Header('x.qcow2', header(fields)), 512n, { trustChain: false });
      return 'accepted';
    } catch (error) {
      return (error as Error).message;
    }
  };
  it.each([
    [{}, 'accepted'],
    [{ backing: 104 }, /backing file/],
    [{ crypt: 2 }, /encrypted/],
    [{ size: 0 }, /is an empty disk/],
    [{ incompatible: 1 }, /not closed cleanly/],
    [{ incompatible: 2 }, /corrupt/],
    [{ incompatible: 4 }, /external file/],
    [{ version: 9 }, /no readable qcow2 header/],
  ])('%j: %s', (fields, expected) => {
    expect(refusal(fields)).toMatch(expected);
  });

  it('may end anywhere if QEMU wrote it here: deleting a snapshot leaves its table at the end', () => {
    const { l1End, ...read } = parseQcow2Header('x.qcow2', header({}));
    const act = (isFromQemu: boolean) => () =>
      assertImportable('x.qcow2', { ...read, l1End }, l1End + 600n, { trustChain: false, isFromQemu });
    expect((l1End + 600n) % 512n).not.toBe(0n);
    expect(act(false)).toThrow(/ends within a sector/);
    expect(act(true)).not.toThrow();
  });

  it('throws only refusals, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 512 }), (bytes) => {
        const head = Buffer.from(bytes);
        try {
          if (imageFormat('x', head, undefined) === 'qcow2')
            assertImportable('x', parseQcow2Header('x', head), 512n, { trustChain: false });
        } catch (error) {
          expect(error).toMatchObject({ code: 'BASE_REFUSED', hint: expect.any(String) });
        }
      }),
    );
  });

  it('checks the given format against the first bytes', () => {
    expect(imageFormat('a.img', Buffer.alloc(512), undefined)).toBe('raw');
    expect(imageFormat('a.img', header(), undefined)).toBe('qcow2');
    expect(() => imageFormat('a.img', header(), 'raw')).toThrow('is a qcow2 image');
    expect(() => imageFormat('a.qcow2', Buffer.alloc(512), undefined)).toThrow('not a qcow2 image');
    expect(() => imageFormat('a.img', Buffer.alloc(512), 'qcow2')).toThrow('not a qcow2 image');
    expect(() => imageFormat('a.vmdk', Buffer.from('KDMV....'), undefined)).toThrow('vmdk');
    expect(() => imageFormat('a.img', Buffer.from('LUKS\xba\xbe', 'latin1'), undefined)).toThrow('encrypted');
    // What it is called in an archive says what it should be.
    expect(() => imageFormat('scratch', Buffer.alloc(512), undefined, 'disk.qcow2')).toThrow('scratch is not a qcow2 image');
  });
});

describe('the segments of an overlay', () => {
  it('combined with zeros are the file', () => {
    const block = fc.oneof(
      fc.constant(Buffer.alloc(blockBytes)),
      fc.uint8Array({ minLength: 1, maxLength: blockBytes }).map((bytes) => Buffer.concat([Buffer.from(bytes)], blockBytes)),
    );
    fc.assert(
      fc.property(fc.array(block, { maxLength: 8 }), fc.nat(blockBytes - 1), (blocks, tail) => {
        const image = Buffer.concat([...blocks, Buffer.alloc(tail, 1)]);
        const rebuilt = Buffer.alloc(image.length);
        for (const { offset, bytes } of nonZeroSegments(image)) {
          expect(bytes.some((byte) => byte !== 0)).toBe(true);
          bytes.copy(rebuilt, offset);
        }
        expect(rebuilt.equals(image)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});

describe('the boot sector', () => {
  it.each(['halt', 'exit', 'power-button'] as const)('that ends with %s is one bootable sector', (ending) => {
    const sector = bootSector(ending);
    expect(sector.length).toBe(512);
    expect(sector.readUInt16LE(510)).toBe(0xaa55);
    // The tables are where the code expects them.
    expect(sector.subarray(0xb0, 0xb8).toString('latin1')).toBe('COWHERD1');
    expect(sector.subarray(0xb8, 0xbb).toString('latin1')).toBe('OK ');
  });

  it('leaves a marker that can be read back', () => {
    const sector = Buffer.alloc(512);
    expect(readBootMarker(sector)).toBeUndefined();
    sector.write('COWHERD1', 0, 'latin1');
    sector.writeUInt32LE(2, 8);
    sector.writeBigUInt64LE(0x1234n, 12);
    expect(readBootMarker(sector)).toEqual({ boots: 2, nonce: '0000000000001234' });
  });
});
