import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { openDisk } from '../../../src/adapters/guest-files/disk.js';
import { inspectGuestFiles } from '../../../src/adapters/guest-files/inspect.js';
import { fileSystemRanges } from '../../../src/adapters/guest-files/partitions.js';
import { ReadBudget } from '../../../src/adapters/guest-files/read-budget.js';
import { env, GuestDisks, KiB, MiB, used } from '../../support/guest-disks.js';
import { runsOf } from '../../support/long.js';

/** File systems, tables and images that are wrong on purpose. */
describe('guest files of a hostile image', () => {
  const { fresh, format, patch, convert, inspected, complaint } = GuestDisks.use();

  const u32be = (value: number): Buffer => Buffer.from([value >>> 24, value >>> 16, value >>> 8, value]);
  const u64be = (value: bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(value);
    return bytes;
  };
  const noise = (length: number, seed: number): Buffer => {
    let state = seed;
    const next = (): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return state >>> 16;
    };
    return Buffer.from(Array.from({ length }, next));
  };

  it('qcow2: tables that point anywhere', async () => {
    const image = await convert(await format('used'));
    const l1 = Number((await readFile(image)).readBigUInt64BE(40));
    const l2 = (await readFile(image)).readBigUInt64BE(l1) & 0x00ff_ffff_ffff_fe00n;
    const changes: Record<string, [offset: number, bytes: Buffer, complaint: RegExp]> = {
      'an L1 table behind the end': [40, u64be(1n << 40n), /out of the file/],
      'an L1 table behind all numbers': [40, u64be(0xffff_ffff_ffff_fff8n), /beyond all disks/],
      'no L1 table': [36, u32be(0), /L1 table is too short/],
      'an L2 table behind the end': [l1, u64be((1n << 63n) | (1n << 50n)), /out of the file/],
      'an L2 table between clusters': [l1, u64be(0x10200n), /between clusters/],
      'an L2 table that is the header': [l1, u64be(1n << 63n), /no ext/],
      'an L2 table that is the L1 table': [l1, u64be(BigInt(l1)), /no ext/],
      'a cluster behind the end': [Number(l2), u64be(1n << 48n), /out of the file/],
      'a cluster between clusters': [Number(l2), u64be(0x10200n), /between clusters/],
      'a compressed cluster behind the end': [Number(l2), u64be((1n << 62n) | (1n << 50n)), /out of the file/],
      'a compressed cluster of other bytes': [Number(l2), u64be((1n << 62n) | 0x3fn), /cut short|Error/],
      'clusters of 2 GiB': [20, u32be(31), /no known size/],
      'clusters of one byte': [20, u32be(0), /no known size/],
      'clusters of another size': [20, u32be(9), /./],
      'a feature of the future': [72, u64be(1n << 40n), /features/],
      'a disk of 8 EiB': [24, u64be((1n << 63n) - 1n), /beyond all disks/],
      'a disk of no bytes': [24, u64be(0n), /out of the disk/],
      'version 9': [4, u32be(9), /no readable qcow2 header/],
    };
    for (const [name, [offset, bytes, expected]] of Object.entries(changes)) {
      const path = fresh('qcow2');
      await copyFile(image, path);
      await patch(path, [offset, bytes]);
      expect(await inspected(path), name).toBeUndefined();
      expect(await complaint(path), name).toMatch(expected);
    }
    expect(await inspected(image)).toEqual(used);
  });

  it('qcow2: subclusters that are refused or read as QEMU does', async () => {
    const raw = await format('used');
    const image = await convert(raw, '-o', 'extended_l2=on');
    const packed = await convert(raw, '-c', '-o', 'extended_l2=on');
    const placeOf = async (path: string): Promise<number> => {
      const bytes = await readFile(path);
      return Number(bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(40))) & 0x00ff_ffff_ffff_fe00n);
    };
    const [l2, packedL2] = [await placeOf(image), await placeOf(packed)];
    const descriptor = (await readFile(image)).readBigUInt64BE(l2);
    const bitmap = (await readFile(image)).readBigUInt64BE(l2 + 8);
    const all = 0xffff_ffffn;
    const invalid = /status of a subcluster is invalid/;
    const changes: Record<string, [source: string, offset: number, bytes: Buffer, complaint?: RegExp]> = {
      'the first subcluster allocated and zeros': [image, l2 + 8, u64be(bitmap | 1n | (1n << 32n)), invalid],
      'another subcluster allocated and zeros': [image, l2 + 8, u64be(bitmap | (1n << 31n) | (1n << 63n)), invalid],
      'all of both': [image, l2 + 8, u64be((all << 32n) | all), invalid],
      'allocated subclusters nowhere': [image, l2, u64be(0n), invalid],
      'an allocated subcluster nowhere': [image, l2, Buffer.concat([u64be(1n << 63n), u64be(1n << 31n)]), invalid],
      'a cluster between clusters': [image, l2, u64be(0x10200n), /between clusters/],
      'zeros between clusters': [image, l2, Buffer.concat([u64be(0x10200n), u64be(all << 32n)]), /between clusters/],
      'a cluster behind the end': [image, l2, u64be(1n << 48n), /out of the file/],
      'clusters of 8 KiB': [image, 20, u32be(13), /no known size/],
      'no allocated subclusters': [image, l2 + 8, u64be(0n)],
      'zeros nowhere': [image, l2, Buffer.concat([u64be(0n), u64be(all << 32n)])],
      'zeros in every other subcluster': [image, l2 + 8, u64be((0x5555_5555n << 32n) | 0xaaaa_aaaan)],
      'the reserved bit for zeros': [image, l2, u64be(descriptor | 1n)],
      'a compressed cluster with subclusters': [packed, packedL2 + 8, u64be((all << 32n) | all)],
    };
    for (const [name, [source, offset, bytes, expected]] of Object.entries(changes)) {
      const path = fresh('qcow2');
      await copyFile(source, path);
      await patch(path, [offset, bytes]);
      const output = fresh('raw');
      const { failed } = await execa('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, output], { reject: false });
      if (expected !== undefined) {
        expect(await inspected(path), name).toBeUndefined();
        expect(await complaint(path), name).toMatch(expected);
        // QEMU reads zeros behind the end.
        expect(failed, name).toBe(name !== 'a cluster behind the end');
        continue;
      }
      expect(failed, name).toBe(false);
      const disk = await openDisk(path, 'qcow2');
      const whole = (await readFile(output)).subarray(0, 256 * KiB);
      expect((await disk.read(0, whole.length)).equals(whole), name).toBe(true);
      await disk.close();
    }
    expect(await inspected(image)).toEqual(used);
  });

  it.each(['off', 'on'])('qcow2: holes use up the budget (subclusters %s)', async (subclusters) => {
    const path = fresh('qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `extended_l2=${subclusters}`, path, '4M']);
    const disk = await openDisk(path, 'qcow2', new ReadBudget({ bytes: MiB }));
    await disk.read(0, 512 * KiB);
    await expect(disk.read(0, 2 * MiB)).rejects.toThrow(/more to read/);
    await disk.close();
  });

  it('ext4: cyclic trees and directories', async () => {
    const image = await format('used', { options: ['-b', '1024', '-O', 'extents,64bit'] });
    const { stdout: place } = await execa('debugfs', ['-R', 'imap /etc', image], { env });
    const [, block, offset] = /located at block (\d+), offset (0x[0-9a-f]+)/.exec(place) ?? [];
    const iBlock = Number(block) * KiB + Number(offset) + 40;
    const firstBlock = async (path: string): Promise<number> =>
      Number.parseInt((await execa('debugfs', ['-R', `blocks ${path}`, image], { env })).stdout, 10);
    const [etc, root] = [await firstBlock('/etc'), await firstBlock('/')];
    const node = (depth: number, target: number): Buffer => {
      const bytes = Buffer.alloc(24);
      for (const [index, value] of [0xf30a, 1, 4, depth].entries()) bytes.writeUInt16LE(value, index * 2);
      bytes.writeUInt32LE(target, 16);
      return bytes;
    };
    const hex = (bytes: string): Buffer => Buffer.from(bytes, 'hex');
    const tree = /extent tree is damaged/;
    const directory = /directory is damaged/;
    const changes: Record<string, [complaint: RegExp, ...patches: Array<[number, Buffer]>]> = {
      'a ring of extents': [tree, [iBlock, node(5, etc)], [etc * KiB, node(5, etc)]],
      'a tree of 65535 levels': [tree, [iBlock, node(0xffff, etc)]],
      'an extent behind the end': [/out of its partition/, [iBlock, node(1, 0xffff_ffff)]],
      'too many entries': [tree, [iBlock + 2, hex('ffff')]],
      'an entry of no length': [directory, [etc * KiB + 4, hex('0000')]],
      'an entry out of its block': [directory, [etc * KiB + 4, hex('ffef')]],
      'a name out of its entry': [directory, [etc * KiB + 6, hex('ff')]],
      'a directory of 2 GiB': [/too large/, [iBlock - 40 + 4, hex('00000080')]],
      'an inode that is not there': [
        /inode that is not there/,
        [root * KiB, hex('ffffff00')],
        [root * KiB + 8, Buffer.from('etc')],
        [root * KiB + 6, hex('03')],
      ],
      'an inode table behind the end': [/out of its partition/, [2 * KiB + 40, hex('01')]],
      'no inodes in a group': [/no ext/, [1024 + 40, hex('00000000')]],
      'no inodes at all': [/inode that is not there/, [1024, hex('00000000')]],
      'blocks of 2 GiB': [/no ext/, [1024 + 24, hex('15000000')]],
      'group descriptors of one byte': [/no known size/, [1024 + 254, hex('0100')]],
      'a feature of the future': [/no ext/, [1024 + 99, hex('80')]],
    };
    for (const [name, [expected, ...patches]] of Object.entries(changes)) {
      const path = fresh('raw');
      await copyFile(image, path);
      await patch(path, ...patches);
      expect(await inspected(path), name).toBeUndefined();
      expect(await complaint(path), name).toMatch(expected);
    }
    expect(await inspected(image)).toEqual(used);
  });

  it('partitions: a cycle of logical ones, and tables of any size', async () => {
    const ring = fresh('raw');
    await writeFile(ring, Buffer.alloc(4 * MiB));
    const record = Buffer.from(`00000000830000000100000001000000${'00000000050000000000000001000000'}`, 'hex');
    await patch(ring, [446 + 16, Buffer.from('00000000050000000008000000100000', 'hex')], [510, Buffer.from('55aa', 'hex')]);
    await patch(ring, [MiB + 446, record], [MiB + 510, Buffer.from('55aa', 'hex')]);
    const disk = await openDisk(ring, 'raw');
    expect((await fileSystemRanges(disk)).length).toBeLessThan(200);
    await disk.close();
    expect(await inspected(ring)).toBeUndefined();

    const table = fresh('raw');
    await writeFile(table, Buffer.alloc(4 * MiB));
    await patch(table, [446 + 4, Buffer.from('ee', 'hex')], [510, Buffer.from('55aa', 'hex')]);
    for (const [at, count, size] of [
      ['ffffffffffffffff', 'ffffffff', '80000000'],
      ['0200000000000000', 'ffffffff', 'ffffffff'],
      ['0200000000000000', '80000000', '00000000'],
    ]) {
      await patch(table, [512, Buffer.from('EFI PART')], [512 + 72, Buffer.from(`${at}${count}${size}`, 'hex')]);
      expect(await inspected(table)).toBeUndefined();
      if (size === '00000000' || size === 'ffffffff') {
        const odd = await openDisk(table, 'raw');
        expect(await fileSystemRanges(odd)).toEqual([{ offset: 0, length: 4 * MiB }]);
        await odd.close();
      }
    }
  });

  it('random data, and truncated files', async () => {
    for (const length of [0, 1, 511, 512, 513, 1500, 2048, 100_000]) {
      const path = fresh('bin');
      await writeFile(path, noise(length, length + 1));
      expect(await inspected(path, 'raw'), `${length} bytes, raw`).toBeUndefined();
      expect(await inspected(path, 'qcow2'), `${length} bytes, qcow2`).toBeUndefined();
      await writeFile(path, Buffer.concat([Buffer.from('514649fb00000003', 'hex'), noise(length, length + 2)]));
      expect(await inspected(path, 'qcow2'), `${length} bytes after the magic`).toBeUndefined();
    }
  });

  it('changed bytes never cause an exception or a delay', async () => {
    const raw = await format('used', { size: 4 * MiB, options: ['-b', '1024', '-O', 'extents'] });
    const images = [raw];
    for (const options of ['cluster_size=4k', 'extended_l2=on,cluster_size=16k'])
      images.push(await convert(raw, '-c', '-o', options), await convert(raw, '-o', options));
    for (const image of images) {
      const whole = await readFile(image);
      const positions = noise(1200, 7);
      for (let turn = 0; turn < runsOf(300); turn += 1) {
        // Near the start, where all tables are.
        const spot = positions.readUInt32LE(turn * 4) % Math.min(whole.length - 8, turn % 3 === 0 ? 2 * KiB : 300 * KiB);
        await patch(image, [spot, noise(1 + (turn % 8), turn + 99)]);
        const started = performance.now();
        const facts = await inspectGuestFiles(image, image === raw ? 'raw' : 'qcow2', { milliseconds: 1000 });
        expect(performance.now() - started, `byte ${spot}`).toBeLessThan(15_000);
        if (facts !== undefined) expect(Object.keys(facts)).toEqual(['machineId', 'sshHostKeys', 'cloudInitInstance']);
        await patch(image, [spot, whole.subarray(spot, spot + 8)]);
      }
      expect(await inspected(image)).toEqual(used);
    }
  });
});
