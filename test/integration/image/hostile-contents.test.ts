import { readFile, truncate, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { inspectContents } from '../../../src/adapters/guest-files/contents.js';
import { contentsSchema } from '../../../src/core/image/origin.js';
import { fatImage } from '../../support/fat-image.js';
import { GuestDisks, KiB, MiB, mbr } from '../../support/guest-disks.js';
import { runsOf } from '../../support/long.js';

/** Images that are wrong on purpose: what is found in them is bounded, and nothing throws. */
describe('the contents of a hostile image', () => {
  const { fresh, format, patch, convert, tree } = GuestDisks.use();

  const noise = (length: number, seed: number): Buffer => {
    let state = seed;
    const next = (): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return state >>> 16;
    };
    return Buffer.from(Array.from({ length }, next));
  };
  /** Stops after a second of reading, and the result is valid. The limit is for a busy machine. */
  const found = async (path: string, kind: 'raw' | 'qcow2' = 'raw') => {
    const started = performance.now();
    const contents = await inspectContents(path, kind, { milliseconds: 1000 });
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(contentsSchema.parse(contents)).toEqual(contents);
    return contents;
  };
  const disk = async (fat: Buffer): Promise<string> => {
    const path = fresh('raw');
    await writeFile(path, '');
    await truncate(path, 64 * MiB);
    await patch(path, [446, mbr([0xef, MiB, 40 * MiB])], [MiB, fat]);
    return path;
  };

  it.each([12, 16, 32] as const)('FAT%i with a cyclic directory, or tables that point anywhere', async (kind) => {
    const changes: Record<string, (fat: Buffer) => void> = {
      'no sectors in a cluster': (fat) => fat.writeUInt8(0, 13),
      'clusters of 3 sectors': (fat) => fat.writeUInt8(3, 13),
      'sectors of 1 byte': (fat) => fat.writeUInt16LE(1, 11),
      'sectors of 0 bytes': (fat) => fat.writeUInt16LE(0, 11),
      'no reserved sectors': (fat) => fat.writeUInt16LE(0, 14),
      '255 tables': (fat) => fat.writeUInt8(255, 16),
      'tables of 2 TiB': (fat) => {
        fat.writeUInt16LE(0, 22);
        fat.writeUInt32LE(0xffff_ffff, 36);
      },
      'no sectors': (fat) => fat.writeUInt32LE(0, 32),
      'more sectors than the disk': (fat) => fat.writeUInt32LE(0xffff_ffff, 32),
      'a root directory elsewhere': (fat) => fat.writeUInt32LE(0x0fff_fff6, 44),
      'all of the tables zero': (fat) => fat.fill(0, (kind === 32 ? 32 : 1) * 512, (kind === 32 ? 40 : 2) * 512),
    };
    for (const [name, change] of Object.entries(changes)) {
      const fat = fatImage({ kind });
      change(fat);
      expect((await found(await disk(fat))).firmware, name).toSatisfy((firmware) => firmware === undefined || firmware === 'uefi');
    }
    // Each cluster of \EFI is followed by itself.
    const ring = fatImage({ kind, file: 'README  TXT' });
    const table = (kind === 32 ? 32 : 1) * 512;
    const links = { 12: [4, 0x04], 16: [6, 0x03], 32: [12, 0x03] } as const;
    const [offset, next] = links[kind];
    ring.writeUInt8(next, table + offset);
    expect(await found(await disk(ring))).toEqual({});
  });

  it('a partition table of 128 file systems uses up its budget, not the time', async () => {
    const path = fresh('raw');
    await writeFile(path, '');
    await truncate(path, 64 * MiB);
    const table = Buffer.alloc(512 + 128 * 128);
    table.write('EFI PART', 'latin1');
    table.writeBigUInt64LE(2n, 72);
    table.writeUInt32LE(128, 80);
    table.writeUInt32LE(128, 84);
    for (let index = 0; index < 128; index++) {
      const entry = table.subarray(512 + index * 128);
      entry.fill(0xaf, 0, 16);
      entry.writeBigUInt64LE(2048n, 32);
      entry.writeBigUInt64LE(100_000n, 40);
    }
    await patch(path, [446, mbr([0xee, 512, 60 * MiB])], [512, table], [MiB, fatImage({ kind: 32, file: 'README  TXT' })]);
    expect(await found(path)).toEqual({});
    expect(await inspectContents(path, 'raw', { bytes: 20_000 })).toEqual({});
    expect(await inspectContents(path, 'raw', { milliseconds: 0 })).toEqual({});
  });

  it('an os-release without end, and one with control characters', async () => {
    await tree('endless', { 'etc/os-release': `ID=x\n${'A=1\n'.repeat(500_000)}`, 'usr/bin/true': '' });
    expect(await found(await format('endless', { size: 24 * MiB }))).toMatchObject({ os: { id: 'x' } });
    await tree('loud', { 'etc/os-release': 'ID=x\nPRETTY_NAME="\u001b]0;title\u0007\u202e"\n', 'usr/bin/true': '' });
    expect(await found(await format('loud'))).toMatchObject({ os: { id: 'x', name: '?]0;title??' } });
  });

  it('a thousand versions of Python are not all searched', async () => {
    const names = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`usr/lib/python3.${n}/x`, '']));
    await tree('crowd', { ...names, 'etc/x': '' });
    expect(await found(await format('crowd', { options: ['-N', '4000'] }))).toMatchObject({ agent: false });
  });

  it('changed bytes never cause an exception or a delay', async () => {
    await tree('whole', { 'etc/os-release': 'ID=x\n', 'usr/bin/cloud-init': '', 'usr/bin/qemu-ga': '' });
    const raw = fresh('raw');
    await writeFile(raw, '');
    await truncate(raw, 16 * MiB);
    await patch(raw, [446, mbr([0xef, MiB, 3 * MiB], [0x83, 5 * MiB, 4 * MiB])], [MiB, fatImage({ kind: 16 })]);
    await format('whole', { path: raw, offset: 5 * MiB, size: 4 * MiB, options: ['-b', '1024'] });
    const expected = { os: { id: 'x' }, cloudInit: true, agent: true, firmware: 'uefi' };
    for (const image of [raw, await convert(raw), await convert(raw, '-c')]) {
      const kind = image === raw ? 'raw' : 'qcow2';
      const whole = await readFile(image);
      expect(await found(image, kind)).toEqual(expected);
      const positions = noise(1200, 11);
      for (let turn = 0; turn < runsOf(300); turn += 1) {
        const near = [0, MiB, 5 * MiB][turn % 3] ?? 0;
        const start = image === raw ? near : 0;
        const spot = start + (positions.readUInt32LE(turn * 4) % Math.min(whole.length - start - 8, 300 * KiB));
        await patch(image, [spot, noise(1 + (turn % 8), turn + 5)]);
        await found(image, kind);
        await patch(image, [spot, whole.subarray(spot, spot + 8)]);
      }
      expect(await found(image, kind)).toEqual(expected);
    }
  });
});
