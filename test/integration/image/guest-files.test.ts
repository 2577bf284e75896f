import { copyFile, mkdir, mkdtemp, open, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDisk } from '../../../src/adapters/guest-files/disk.js';
import { openExt4 } from '../../../src/adapters/guest-files/ext4.js';
import { inspectGuestFiles } from '../../../src/adapters/guest-files/inspect.js';
import { fileSystemRanges } from '../../../src/adapters/guest-files/partitions.js';
import { ReadBudget } from '../../../src/adapters/guest-files/read-budget.js';

const KiB = 1024;
const MiB = 1024 ** 2;
const sectors = (bytes: number): number => bytes / 512;
// The tools of e2fsprogs are not on every user's PATH.
const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const machineId = '0123456789abcdef0123456789abcdef';
const used = { machineId, sshHostKeys: ['ssh_host_ed25519_key', 'ssh_host_rsa_key'], cloudInitInstance: 'i-golden' };
const cleanFacts = { machineId: '', sshHostKeys: [], cloudInitInstance: undefined };

/** Inspects images without booting them, with real file systems, tables and images. */
describe('guest files', () => {
  let dir: string;
  let made = 0;
  const at = (...parts: string[]): string => join(dir, ...parts);
  const fresh = (suffix: string): string => {
    made += 1;
    return at(`image-${made}.${suffix}`);
  };

  /** Creates a file system with the files of a directory. @param offset bytes; does not overwrite other file systems */
  async function format(tree: string, { path = fresh('raw'), offset = 0, size = 16 * MiB, type = 'ext4', options = [] as string[] } = {}) {
    const place = offset === 0 ? [] : ['-E', `offset=${offset}`];
    await execa('mke2fs', ['-q', '-F', '-t', type, ...options, ...place, '-d', at(tree), path, `${size / KiB}k`], { env });
    return path;
  }

  async function patch(path: string, ...changes: Array<[offset: number, bytes: Buffer]>): Promise<void> {
    const handle = await open(path, 'r+');
    for (const [offset, bytes] of changes) await handle.write(bytes, 0, bytes.length, offset);
    await handle.close();
  }

  async function convert(source: string, ...options: string[]): Promise<string> {
    const path = fresh('qcow2');
    await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, source, path]);
    return path;
  }

  /** Reads an image, and checks that it is fast. */
  async function inspected(path: string, kind: 'raw' | 'qcow2' = path.endsWith('.raw') ? 'raw' : 'qcow2') {
    const started = performance.now();
    const facts = await inspectGuestFiles(path, kind);
    expect(performance.now() - started).toBeLessThan(6000);
    return facts;
  }

  async function tree(name: string, files: Record<string, string | Buffer>, links: Record<string, string> = {}): Promise<void> {
    for (const path of [...Object.keys(files), ...Object.keys(links)]) await mkdir(dirname(at(name, path)), { recursive: true });
    for (const [path, content] of Object.entries(files)) await writeFile(at(name, path), content);
    for (const [path, target] of Object.entries(links)) await symlink(target, at(name, path));
  }

  /** Why /etc of a file system, or the start of an image, cannot be read. */
  async function complaint(path: string, length?: number): Promise<string> {
    const disk = await openDisk(path, path.endsWith('.raw') ? 'raw' : 'qcow2').catch(String);
    if (typeof disk === 'string') return disk;
    try {
      if (!path.endsWith('.raw')) await disk.read(0, 512);
      const root = await openExt4(disk, { offset: 0, length: length ?? disk.virtualBytes });
      return root === undefined ? 'no ext file system' : `${await root.listDirectory('/etc', 100)}`;
    } catch (error) {
      return String(error);
    } finally {
      await disk.close();
    }
  }

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cwt-guest-'));
    const keys = { 'etc/ssh/ssh_host_rsa_key': 'k', 'etc/ssh/ssh_host_rsa_key.pub': 'k', 'etc/ssh/ssh_host_ed25519_key': 'k' };
    await tree(
      'used',
      { ...keys, 'etc/machine-id': `${machineId}\n`, 'etc/ssh/sshd_config': '', 'var/lib/cloud/data/instance-id': 'i-golden\n' },
      // The file is decisive.
      { 'var/lib/cloud/instance': '/var/lib/cloud/instances/i-older' },
    );
    await tree('clean', { 'etc/machine-id': '', 'etc/ssh/sshd_config': '' });
    await tree('boot', { vmlinuz: Buffer.alloc(100 * KiB, 'k') });
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  describe('of every layout and format', () => {
    const mbr = (...entries: Array<[type: number, start: number, length: number]>): Buffer => {
      const sector = Buffer.alloc(66);
      entries.forEach(([type, start, length], index) => {
        sector.writeUInt8(type, index * 16 + 4);
        sector.writeUInt32LE(sectors(start), index * 16 + 8);
        sector.writeUInt32LE(sectors(length), index * 16 + 12);
      });
      sector.writeUInt16LE(0xaa55, 64);
      return sector;
    };
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

    it('reads a disk of 2 TiB as fast, and finds nothing on an unwritten one', async () => {
      const path = fresh('qcow2');
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', path, '2T']);
      expect(await inspected(path)).toBeUndefined();
    });
  });

  describe('of every file system', () => {
    const kinds: Record<string, { type?: string; options?: string[]; size?: number }> = {
      ext2: { type: 'ext2' },
      ext3: { type: 'ext3', options: ['-b', '4096'] },
      'ext4 without 64-bit': { options: ['-O', '^64bit,^metadata_csum,extents'] },
      'ext4 with 64-bit': { options: ['-O', '64bit,extents,flex_bg,metadata_csum'] },
      'with blocks of 1 KiB': { options: ['-b', '1024', '-O', 'extents'] },
      'with small inodes': { options: ['-I', '128', '-O', 'extents'] },
    };

    it.each(Object.keys(kinds))('%s', async (kind) => {
      expect(await inspected(await format('used', kinds[kind]))).toEqual(used);
      expect(await inspected(await format('clean', kinds[kind]))).toEqual(cleanFacts);
    });

    it.each([
      '64bit,^meta_bg,^resize_inode',
      '^64bit,^meta_bg,^resize_inode',
      '64bit,meta_bg,^resize_inode',
      '^64bit,meta_bg,^resize_inode,^sparse_super',
    ])('many groups (%s)', async (features) => {
      const names = Array.from({ length: 900 }, (_, n) => `etc/${n}`);
      await tree('spread', Object.fromEntries(names.map((name) => [name, name])));
      // 16 inodes in each group of 256 KiB.
      const path = await format('spread', {
        size: 64 * MiB,
        options: ['-b', '1024', '-g', '256', '-N', '4096', '-O', `extents,${features}`],
      });
      const disk = await openDisk(path, 'raw', new ReadBudget({ bytes: 1024 * MiB, milliseconds: 30_000 }));
      const root = await openExt4(disk, { offset: 0, length: disk.virtualBytes });
      for (const name of names) expect(String(await root?.readFile(`/${name}`, 100))).toBe(name);
      await disk.close();
    });

    it.each(['ext2', 'ext4'])('large directories and scattered files (%s)', async (type) => {
      const many = Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`etc/a-name-of-some-length-${n}`, '']));
      await tree(`many-${type}`, { ...many, 'etc/ssh/ssh_host_rsa_key': '', 'etc/machine-id': `${machineId}\n` });
      // Every other block is a hole, so that each block is a separate extent.
      const handle = await open(at(`many-${type}`, 'scattered'), 'w');
      const blocks = type === 'ext2' ? 260 : 2000;
      for (let block = 0; block < blocks; block += 2) await handle.write(Buffer.alloc(KiB, `block ${block};`), 0, KiB, block * KiB);
      await handle.close();
      const features = type === 'ext2' ? 'dir_index' : 'dir_index,extents';
      const path = await format(`many-${type}`, { type, options: ['-b', '1024', '-N', '8000', '-O', features] });
      // Creates the hashed index; exit code 1 means that it changed something.
      expect((await execa('e2fsck', ['-fyD', path], { env, reject: false })).exitCode).toBeLessThan(2);
      const { stdout } = await execa('debugfs', ['-R', 'htree_dump /etc', path], { env });
      expect(stdout).toContain('Number of entries');

      const disk = await openDisk(path, 'raw');
      const root = await openExt4(disk, { offset: 0, length: disk.virtualBytes });
      expect((await root?.listDirectory('/etc', 5000))?.sort()).toEqual(
        [...Object.keys(many).map((name) => name.slice(4)), 'machine-id', 'ssh'].sort(),
      );
      expect(await root?.listDirectory('/etc', 7)).toHaveLength(7);
      const content = await readFile(at(`many-${type}`, 'scattered'));
      expect((await root?.readFile('/scattered', 8 * MiB))?.equals(content)).toBe(true);
      expect(await root?.readFile('/scattered', 10)).toEqual(content.subarray(0, 10));
      await disk.close();
      expect(await inspected(path)).toEqual({ machineId, sshHostKeys: ['ssh_host_rsa_key'], cloudInitInstance: undefined });
    });

    it('follows links inside the guest, up to a limit', async () => {
      const far = `instances/${'x'.repeat(70)}`;
      await tree(
        'linked',
        { 'etc/keep': '', 'var/lib/dbus/machine-id': `${machineId}\n`, 'usr/ssh/ssh_host_rsa_key': '' },
        {
          'etc/machine-id': '/var/lib/dbus/machine-id',
          'etc/ssh': '../../../usr/./ssh',
          'var/lib/cloud/instance': `/var/lib/cloud/${far}`,
          loop: 'loop',
          dangling: '/nowhere/at/all',
          // A file of the host.
          outside: at('used/etc/machine-id'),
        },
      );
      const path = await format('linked', { options: ['-O', 'extents'] });
      expect(await inspected(path)).toEqual({ machineId, sshHostKeys: ['ssh_host_rsa_key'], cloudInitInstance: 'x'.repeat(70) });
      const disk = await openDisk(path, 'raw');
      const root = await openExt4(disk, { offset: 0, length: disk.virtualBytes });
      for (const name of ['/loop', '/dangling', '/outside', '/etc/keep/below', '/etc', '/missing'])
        expect(await root?.readFile(name, 10), name).toBeUndefined();
      expect(await root?.readLink('/dangling')).toBe('/nowhere/at/all');
      expect(await root?.readLink('/etc')).toBeUndefined();
      expect(await root?.listDirectory('/etc/keep', 10)).toBeUndefined();
      await disk.close();
    });

    it('leaves no terminal control in its result', async () => {
      await tree('rude', {
        'etc/machine-id': `\x1b[2Jowned\x07${'x'.repeat(5000)}`,
        'etc/ssh/ssh_host_\x1b[2J_key': '',
        'etc/ssh/ssh_host_rsa_key': '',
      });
      const facts = await inspected(await format('rude'));
      expect(facts?.machineId).toMatch(/^\?\[2Jowned\?x{200,}$/);
      expect(facts?.machineId?.length).toBeLessThan(300);
      expect(facts?.sshHostKeys).toEqual(['ssh_host_rsa_key']);
    });
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

  describe('that cannot be read', () => {
    it('are reported', async () => {
      const raw = await format('used');
      const whole = await convert(raw);
      const chained = fresh('qcow2');
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', whole, chained]);
      const refused = (path: string) => openDisk(path, 'qcow2').then((disk) => disk.close().then(() => 'opened'), String);
      expect(await refused(whole)).toBe('opened');
      expect(await refused(chained)).toMatch(/UnreadableDisk: .*backing file/);
      expect(await refused(await convert(raw, '-o', 'compression_type=zstd'))).toMatch(/UnreadableDisk: .*zstd/);
      expect(await refused(await convert(raw, '-o', 'extended_l2=on'))).toMatch(/UnreadableDisk: .*features/);
      expect(await refused(raw)).toMatch(/UnreadableDisk: .*not a qcow2/);
      await execa('mkfifo', [at('pipe')]);
      expect(await refused(at('pipe'))).toMatch(/UnreadableDisk: .*not a file/);
      for (const path of [chained, at('pipe'), at('missing.qcow2'), dir]) expect(await inspected(path, 'qcow2')).toBeUndefined();
    });

    it('give no result rather than a partial one', async () => {
      expect(await inspected(await format('boot'))).toBeUndefined();
      const inline = await format('used', { options: ['-O', 'inline_data,extents', '-I', '256'] });
      expect(await inspected(inline)).toBeUndefined();
      expect(await complaint(inline)).toMatch(/inside its inode/);
      expect(await complaint(await format('used'), 64 * KiB)).toMatch(/out of its partition/);
      const image = await convert(await format('used'));
      await truncate(image, (await stat(image)).size / 2);
      expect(await inspected(image)).toBeUndefined();
      expect(await inspectGuestFiles(await format('used'), 'raw', { bytes: 20_000 })).toBeUndefined();
      expect(await inspectGuestFiles(await format('used'), 'raw', { milliseconds: 0 })).toBeUndefined();
    });
  });

  describe('of a hostile image', () => {
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
      for (const image of [raw, await convert(raw, '-c', '-o', 'cluster_size=4k'), await convert(raw, '-o', 'cluster_size=4k')]) {
        const whole = await readFile(image);
        const positions = noise(1200, 7);
        for (let turn = 0; turn < 300; turn += 1) {
          // Near the start, where all tables are.
          const spot = positions.readUInt32LE(turn * 4) % Math.min(whole.length - 8, turn % 3 === 0 ? 2 * KiB : 300 * KiB);
          await patch(image, [spot, noise(1 + (turn % 8), turn + 99)]);
          const started = performance.now();
          const facts = await inspectGuestFiles(image, image === raw ? 'raw' : 'qcow2', { milliseconds: 1000 });
          expect(performance.now() - started, `byte ${spot}`).toBeLessThan(2000);
          if (facts !== undefined) expect(Object.keys(facts)).toEqual(['machineId', 'sshHostKeys', 'cloudInitInstance']);
          await patch(image, [spot, whole.subarray(spot, spot + 8)]);
        }
        expect(await inspected(image)).toEqual(used);
      }
    });
  });
});
