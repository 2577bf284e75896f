import { mkdir, mkdtemp, open, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect } from 'vitest';
import { openDisk } from '../../src/adapters/guest-files/disk.js';
import { openExt4 } from '../../src/adapters/guest-files/ext4.js';
import { inspectGuestFiles } from '../../src/adapters/guest-files/inspect.js';

export const KiB = 1024;
export const MiB = 1024 ** 2;
export const machineId = '0123456789abcdef0123456789abcdef';
/** What is found in the tree "used". */
export const used = { machineId, sshHostKeys: ['ssh_host_ed25519_key', 'ssh_host_rsa_key'], cloudInitInstance: 'i-golden' };
/** What is found in the tree "clean". */
export const cleanFacts = { machineId: '', sshHostKeys: [], cloudInitInstance: undefined };

/** The tools of e2fsprogs are not on every user's PATH. */
export const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

interface FormatOptions {
  path?: string;
  /** Bytes; does not overwrite other file systems. */
  offset?: number;
  size?: number;
  type?: string;
  options?: string[];
}

/** Disks with real file systems in a temporary directory. The trees are "used", "clean" and "boot". */
export class GuestDisks {
  #dir = '';
  #made = 0;

  /** Prepares the trees before the tests of the surrounding describe. */
  static use(): GuestDisks {
    const one = new GuestDisks();
    beforeAll(() => one.#prepare());
    afterAll(() => rm(one.#dir, { recursive: true, force: true }));
    return one;
  }

  async #prepare(): Promise<void> {
    this.#dir = await mkdtemp(join(tmpdir(), 'cwt-guest-'));
    const keys = { 'etc/ssh/ssh_host_rsa_key': 'k', 'etc/ssh/ssh_host_rsa_key.pub': 'k', 'etc/ssh/ssh_host_ed25519_key': 'k' };
    await this.tree(
      'used',
      { ...keys, 'etc/machine-id': `${machineId}\n`, 'etc/ssh/sshd_config': '', 'var/lib/cloud/data/instance-id': 'i-golden\n' },
      // The file is decisive.
      { 'var/lib/cloud/instance': '/var/lib/cloud/instances/i-older' },
    );
    await this.tree('clean', { 'etc/machine-id': '', 'etc/ssh/sshd_config': '' });
    await this.tree('boot', { vmlinuz: Buffer.alloc(100 * KiB, 'k') });
  }

  readonly at = (...parts: string[]): string => join(this.#dir, ...parts);

  readonly fresh = (suffix: string): string => {
    this.#made += 1;
    return this.at(`image-${this.#made}.${suffix}`);
  };

  /** Creates a file system with the files of a directory. */
  readonly format = async (tree: string, options: FormatOptions = {}): Promise<string> => {
    const { path = this.fresh('raw'), offset = 0, size = 16 * MiB, type = 'ext4' } = options;
    const place = offset === 0 ? [] : ['-E', `offset=${offset}`];
    const words = ['-q', '-F', '-t', type, ...(options.options ?? []), ...place, '-d', this.at(tree), path, `${size / KiB}k`];
    await execa('mke2fs', words, { env });
    return path;
  };

  readonly patch = async (path: string, ...changes: Array<[offset: number, bytes: Buffer]>): Promise<void> => {
    const handle = await open(path, 'r+');
    for (const [offset, bytes] of changes) await handle.write(bytes, 0, bytes.length, offset);
    await handle.close();
  };

  readonly convert = async (source: string, ...options: string[]): Promise<string> => {
    const path = this.fresh('qcow2');
    await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, source, path]);
    return path;
  };

  /** Reads an image, and checks that it does not take long. */
  readonly inspected = async (path: string, kind: 'raw' | 'qcow2' = path.endsWith('.raw') ? 'raw' : 'qcow2') => {
    const started = performance.now();
    const facts = await inspectGuestFiles(path, kind);
    expect(performance.now() - started).toBeLessThan(6000);
    return facts;
  };

  readonly tree = async (name: string, files: Record<string, string | Buffer>, links: Record<string, string> = {}): Promise<void> => {
    for (const path of [...Object.keys(files), ...Object.keys(links)]) await mkdir(dirname(this.at(name, path)), { recursive: true });
    for (const [path, content] of Object.entries(files)) await writeFile(this.at(name, path), content);
    for (const [path, target] of Object.entries(links)) await symlink(target, this.at(name, path));
  };

  /** Why /etc of a file system, or the start of an image, cannot be read. */
  readonly complaint = async (path: string, length?: number): Promise<string> => {
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
  };
}

const sectors = (bytes: number): number => bytes / 512;

/** A partition table from byte 446 of its sector. @param entries in bytes */
export function mbr(...entries: Array<[type: number, start: number, length: number]>): Buffer {
  const sector = Buffer.alloc(66);
  entries.forEach(([type, start, length], index) => {
    sector.writeUInt8(type, index * 16 + 4);
    sector.writeUInt32LE(sectors(start), index * 16 + 8);
    sector.writeUInt32LE(sectors(length), index * 16 + 12);
  });
  sector.writeUInt16LE(0xaa55, 64);
  return sector;
}
