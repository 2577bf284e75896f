import { readFile, truncate, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { type Disk, openDisk } from '../../../src/adapters/guest-files/disk.js';
import { inspectGuestFiles } from '../../../src/adapters/guest-files/inspect.js';
import { ReadBudget } from '../../../src/adapters/guest-files/read-budget.js';
import { cleanFacts, GuestDisks, KiB, MiB, mbr, used } from '../../support/guest-disks.js';

/** Inspects images without booting them, with real file systems, tables and images. */
describe('guest files of every layout and format', () => {
  const { fresh, format, patch, convert, inspected, complaint } = GuestDisks.use();

  const gpt = (blockBytes: number, ...entries: Array<[start: number, length: number, deleted?: boolean]>): Buffer => {
    const table = Buffer.alloc(blockBytes + entries.length * 128);
    table.write('EFI PART', 'latin1');
    table.writeBigUInt64LE(2n, 72);
    table.writeUInt32LE(entries.length, 80);
    table.writeUInt32LE(128, 84);
    entries.forEach(([start, length, deleted = false], index) => {
      const entry = table.subarray(blockBytes + index * 128);
      entry.fill(deleted ? 0 : 0xaf, 0, 16);
      entry.writeBigUInt64LE(BigInt(start / blockBytes), 32);
      entry.writeBigUInt64LE(BigInt((start + length) / blockBytes - 1), 40);
    });
    return table;
  };
  const layouts: Record<string, (root: string) => Promise<string>> = {
    'no table': (root) => format(root),
    MBR: async (root) => {
      const path = await format('boot', { offset: MiB, size: 4 * MiB });
      await format(root, { path, offset: 8 * MiB });
      await patch(path, [446, mbr([0x83, MiB, 4 * MiB], [0x83, 8 * MiB, 16 * MiB])]);
      return path;
    },
    'MBR with logical partitions': async (root) => {
      const path = await format('boot', { offset: 3 * MiB, size: 4 * MiB });
      await format(root, { path, offset: 9 * MiB });
      await patch(
        path,
        [446, mbr([0x82, MiB, MiB], [0x05, 2 * MiB, 30 * MiB])],
        [2 * MiB + 446, mbr([0x83, MiB, 4 * MiB], [0x05, 5 * MiB, MiB])],
        [7 * MiB + 446, mbr([0x82, 512, 512], [0x05, 6 * MiB, 17 * MiB])],
        [8 * MiB + 446, mbr([0x83, MiB, 16 * MiB])],
      );
      return path;
    },
    GPT: async (root) => {
      const path = await format('boot', { offset: 2 * MiB, size: 4 * MiB });
      await format(root, { path, offset: 8 * MiB });
      await format(root === 'used' ? 'clean' : 'used', { path, offset: 24 * MiB });
      const entries = gpt(512, [MiB, MiB], [24 * MiB, 16 * MiB, true], [2 * MiB, 4 * MiB], [8 * MiB, 16 * MiB]);
      await patch(path, [446, mbr([0xee, 512, 40 * MiB])], [512, entries]);
      return path;
    },
    'GPT with sectors of 4 KiB': async (root) => {
      const path = await format(root, { offset: 8 * MiB });
      await patch(path, [446, mbr([0xee, 512, 24 * MiB])], [4096, gpt(4096, [MiB, MiB], [8 * MiB, 16 * MiB])]);
      return path;
    },
    'a superblock left from before the table': async (root) => {
      const path = await format(root === 'used' ? 'clean' : 'used', { size: 24 * MiB });
      await format(root, { path, offset: 8 * MiB });
      await patch(path, [446, mbr([0x83, 8 * MiB, 16 * MiB])]);
      return path;
    },
  };
  const formats: Record<string, string[]> = {
    qcow2: [],
    'compressed qcow2': ['-c'],
    'qcow2 version 2': ['-o', 'compat=0.10'],
    'qcow2 with tables read in parts': ['-o', 'cluster_size=8k'],
    'qcow2 with small clusters': ['-o', 'cluster_size=512'],
    'compressed qcow2 with large clusters': ['-c', '-o', 'cluster_size=2M'],
    'preallocated qcow2': ['-o', 'preallocation=metadata'],
    'qcow2 with subclusters': ['-o', 'extended_l2=on'],
    'qcow2 with the smallest subclusters': ['-o', 'extended_l2=on,cluster_size=16k'],
    'compressed qcow2 with subclusters': ['-c', '-o', 'extended_l2=on,cluster_size=128k'],
    'preallocated qcow2 with subclusters': ['-o', 'extended_l2=on,preallocation=metadata'],
  };

  it.each(Object.keys(layouts))('%s', async (layout) => {
    for (const [root, facts] of [
      ['used', used],
      ['clean', cleanFacts],
    ] as const) {
      const raw = await layouts[layout]?.(root);
      if (raw === undefined) throw new Error(layout);
      expect(await inspected(raw)).toEqual(facts);
      for (const options of Object.values(formats))
        expect(await inspected(await convert(raw, ...options)), options.join(' ')).toEqual(facts);
    }
  });

  it('reads a disk as QEMU does, byte for byte', async () => {
    const raw = await format('used');
    // Alternating data and holes, and an end within a cluster.
    await patch(raw, ...Array.from({ length: 40 }, (_, n): [number, Buffer] => [n * 300_000, Buffer.alloc(70_000, n + 1)]));
    await truncate(raw, 16 * MiB + 512);
    const whole = await readFile(raw);
    for (const [name, options] of Object.entries(formats)) {
      const path = await convert(raw, ...options);
      // Zero clusters over data.
      await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -z 1M 256k', path]);
      const expected = Buffer.from(whole).fill(0, MiB, MiB + 256 * KiB);
      const disk = await openDisk(path, 'qcow2', new ReadBudget({ bytes: 256 * MiB }));
      expect(disk.virtualBytes, name).toBe(whole.length);
      for (let offset = 0; offset < whole.length; offset += 999_999) {
        const length = Math.min(999_999, whole.length - offset);
        expect((await disk.read(offset, length)).equals(expected.subarray(offset, offset + length)), `${name} at ${offset}`).toBe(true);
      }
      await disk.close();
    }
  });

  it.each(['16k', '64k', '128k', '2M'])('reads subclusters of each layer as QEMU does (clusters of %s)', async (cluster) => {
    const commands = (...words: string[]): string[] => words.flatMap((word) => ['-c', word]);
    const base = await format('used', { size: 3 * MiB });
    // Each sector is different, also where the file system has none.
    await patch(base, ...Array.from({ length: 6 * KiB }, (_, n): [number, Buffer] => [n * 512, Buffer.from(`base ${n};`)]));
    const data = fresh('raw');
    await writeFile(data, Buffer.from(Array.from({ length: 20_000 }, (_, n) => `data ${n};`).join('')));
    const layer = async (below: string, kind: string, options: string, ...changes: string[]): Promise<string> => {
      const path = fresh('qcow2');
      // Longer than the base, and ends within a subcluster.
      const size = `${4 * MiB + 512}`;
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', kind, '-b', below, '-o', options, path, size]);
      await execa('qemu-io', ['-f', 'qcow2', ...commands(...changes), path]);
      return path;
    };
    const middle = await layer(
      base,
      'raw',
      `extended_l2=on,cluster_size=${cluster}`,
      // Only clusters that were never written can be compressed.
      `write -c -s ${data} 2M 2M`,
      ...['write -P 0x11 4k 4k', 'write -z -u 8k 4k', 'write -z 13k 1k', `write -s ${data} 20k 33k`, 'discard 24k 4k'],
      // Zeros over data, with and without the cluster; at the ends of clusters; zeros and data where no base is.
      ...[`write -s ${data} 254k 140k`, 'write -z -u 256k 16k', 'write -z -u 512k 2M', `write -s ${data} 3000k 100k`],
      ...['write -z -u 2100k 8k', 'write -P 0x33 2200k 512', 'write -P 0x44 4M 512'],
    );
    const top = await layer(
      middle,
      'qcow2',
      'extended_l2=on,cluster_size=64k',
      ...['write -P 0x55 6k 4k', 'write -z -u 30k 2k', `write -s ${data} 300k 5k`, 'write -z -u 1M 6k', 'write -P 0x66 2110k 3k'],
    );
    for (const [path, ...below] of [
      [middle, base],
      [top, middle, base],
    ] as const) {
      const expected = fresh('raw');
      await execa('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, expected]);
      const whole = await readFile(expected);
      for (const step of [999_999, 3001]) {
        const budget = new ReadBudget({ bytes: 256 * MiB, milliseconds: 30_000 });
        let disk: Disk | undefined;
        for (const one of [...below].reverse()) disk = await openDisk(one, one === base ? 'raw' : 'qcow2', budget, disk);
        disk = await openDisk(path, 'qcow2', budget, disk);
        const pieces: Buffer[] = [];
        for (let at = 0; at < disk.virtualBytes; at += step) pieces.push(await disk.read(at, Math.min(step, disk.virtualBytes - at)));
        await disk.close();
        const read = Buffer.concat(pieces);
        expect(read.length).toBe(whole.length);
        expect(
          read.findIndex((byte, at) => byte !== whole[at]),
          `first difference, ${below.length} below, steps of ${step}`,
        ).toBe(-1);
      }
    }
  });

  it.each(['off', 'on'])('reads a disk of 2 TiB as fast, and finds nothing on an unwritten one (subclusters %s)', async (subclusters) => {
    const path = fresh('qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `extended_l2=${subclusters}`, path, '2T']);
    expect(await inspected(path)).toBeUndefined();
    expect(await complaint(path)).toMatch(/no ext/);
  });

  it('are read through the given layers of an image', async () => {
    const whole = await convert(await format('used'));
    const expected = await inspected(whole);
    expect(expected?.machineId).toBeTruthy();
    const layer = async (below: string, size: string): Promise<string> => {
      const path = fresh('qcow2');
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', below, path, size]);
      return path;
    };
    const middle = await layer(whole, '20M');
    const top = await layer(middle, '24M');
    const backing = [middle, whole].map((path) => ({ path, format: 'qcow2' as const }));
    expect(await inspectGuestFiles(top, 'qcow2', { backing })).toEqual(expected);
    // The upper layer hides the lower one, here the superblock.
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -z 0 64k', top]);
    expect(await inspectGuestFiles(top, 'qcow2', { backing })).toBeUndefined();
    expect(await inspectGuestFiles(middle, 'qcow2')).toBeUndefined();
    expect(await inspectGuestFiles(whole, 'qcow2', { backing })).toBeUndefined();
  });
});
