import type { Disk } from './disk.js';
import type { ByteRange } from './partitions.js';
import { exact, UnreadableDisk } from './read-budget.js';

/**
 * Reading ext2, ext3 and ext4. The journal is ignored: after a crash of the guest the answer is that of the last checkpoint,
 * which is good enough for a warning.
 * Source: https://docs.kernel.org/filesystems/ext4/
 */

const rootInode = 2;
const maxLinks = 8;
const maxLinkBytes = 4096;
const maxDirectoryBytes = 4 * 1024 ** 2;
const maxExtentDepth = 5;
const inode = { directory: 0x4000, link: 0xa000, file: 0x8000, typeMask: 0xf000 };
const inodeFlags = { encrypted: 0x800, extents: 0x80000, inlineData: 0x10000000 };
const metaBlockGroups = 0x10;
const sixtyFourBit = 0x80;
// filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt, casefold.
const knownFeatures =
  0x2 | 0x4 | metaBlockGroups | 0x40 | sixtyFourBit | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000;

interface Inode {
  type: number;
  /** Bytes. */
  size: number;
  flags: number;
  /** The 60 bytes that hold the block map, the root of the extent tree, or a short link's target. */
  iBlock: Buffer;
}

/** @returns undefined if the range has no ext file system, or one with unsupported features */
export async function openExt4(disk: Disk, range: ByteRange): Promise<Ext4 | undefined> {
  if (range.length < 2048) return undefined;
  const superblock = await disk.read(range.offset + 1024, 1024);
  if (superblock.readUInt16LE(56) !== 0xef53) return undefined;
  const sound =
    superblock.readUInt32LE(24) <= 6 &&
    superblock.readUInt32LE(32) > 0 &&
    superblock.readUInt32LE(40) > 0 &&
    inodeBytesOf(superblock) >= 128;
  return sound && (superblock.readUInt32LE(96) & ~knownFeatures) === 0 ? new Ext4(disk, range, superblock) : undefined;
}

function inodeBytesOf(superblock: Buffer): number {
  return superblock.readUInt32LE(76) === 0 ? 128 : superblock.readUInt16LE(88);
}

/** Paths are absolute paths of the guest. Links are followed only inside this file system. */
export class Ext4 {
  readonly #disk: Disk;
  readonly #range: ByteRange;
  readonly #superblock: Buffer;
  readonly #blockBytes: number;
  readonly #features: number;
  readonly #descriptorBytes: number;

  constructor(disk: Disk, range: ByteRange, superblock: Buffer) {
    this.#disk = disk;
    this.#range = range;
    this.#superblock = superblock;
    this.#blockBytes = 1024 << superblock.readUInt32LE(24);
    this.#features = superblock.readUInt32LE(96);
    this.#descriptorBytes = (this.#features & sixtyFourBit) === 0 ? 32 : superblock.readUInt16LE(254);
    if (![32, 64].includes(this.#descriptorBytes)) throw new UnreadableDisk('its group descriptors are of no known size');
  }

  /**
   * @returns the first `maxBytes` bytes; undefined if there is no such file
   * @throws UnreadableDisk
   */
  async readFile(path: string, maxBytes: number): Promise<Buffer | undefined> {
    const found = await this.#resolve(path, true);
    return found?.type === inode.file ? this.#content(found, maxBytes) : undefined;
  }

  /**
   * @returns the first `maxEntries` names, without `.` and `..`; undefined if there is no such directory
   * @throws UnreadableDisk
   */
  async listDirectory(path: string, maxEntries: number): Promise<string[] | undefined> {
    const found = await this.#resolve(path, true);
    if (found?.type !== inode.directory) return undefined;
    const names: string[] = [];
    for await (const { name } of this.#entries(found)) {
      if (names.length >= maxEntries) break;
      if (name !== '.' && name !== '..') names.push(name);
    }
    return names;
  }

  /**
   * @returns the target of a symbolic link, unresolved; undefined if there is no such link
   * @throws UnreadableDisk
   */
  async readLink(path: string): Promise<string | undefined> {
    const found = await this.#resolve(path, false);
    return found?.type === inode.link ? this.#target(found) : undefined;
  }

  async #resolve(path: string, followLast: boolean): Promise<Inode | undefined> {
    const trail = [await this.#inode(rootInode)];
    let names = path.split('/');
    for (let links = 0; ; ) {
      const name = names.shift();
      const here = trail.at(-1);
      if (name === undefined || here === undefined) return here;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const next = here.type === inode.directory ? await this.#find(here, name) : undefined;
      if (next === undefined) return undefined;
      if (next.type !== inode.link || (names.length === 0 && !followLast)) {
        trail.push(next);
        continue;
      }
      links += 1;
      if (links > maxLinks) return undefined;
      const target = await this.#target(next);
      if (target.startsWith('/')) trail.splice(1);
      names = [...target.split('/'), ...names];
    }
  }

  async #find(directory: Inode, wanted: string): Promise<Inode | undefined> {
    for await (const { name, number } of this.#entries(directory)) if (name === wanted) return this.#inode(number);
    return undefined;
  }

  /** Reads block by block. The index of a hashed directory looks like unused entries and is skipped. */
  async *#entries(directory: Inode): AsyncGenerator<{ name: string; number: number }> {
    if (directory.size > maxDirectoryBytes) throw new UnreadableDisk('a directory is too large');
    this.#assertPlain(directory);
    for (let logical = 0; logical * this.#blockBytes < directory.size; logical += 1) {
      const block = await this.#logicalBlock(directory, logical);
      for (let at = 0; at + 8 <= block.length; ) {
        const number = block.readUInt32LE(at);
        const nameBytes = block.readUInt8(at + 6);
        const recorded = block.readUInt16LE(at + 4);
        // A block of 64 KiB does not fit the field.
        const entryBytes = recorded === 0 || recorded === 0xffff ? 65536 : recorded;
        if (entryBytes < 8 + nameBytes || at + entryBytes > block.length) throw new UnreadableDisk('a directory is damaged');
        if (number !== 0) yield { name: block.toString('utf8', at + 8, at + 8 + nameBytes), number };
        at += entryBytes;
      }
    }
  }

  async #target(link: Inode): Promise<string> {
    // A short target is stored in the inode.
    const isShort = link.size < 60 && (link.flags & inodeFlags.extents) === 0;
    return (isShort ? link.iBlock.subarray(0, link.size) : await this.#content(link, maxLinkBytes)).toString('utf8');
  }

  async #content(file: Inode, maxBytes: number): Promise<Buffer> {
    this.#assertPlain(file);
    const length = Math.min(file.size, maxBytes);
    const blocks: Buffer[] = [];
    for (let logical = 0; logical * this.#blockBytes < length; logical += 1) blocks.push(await this.#logicalBlock(file, logical));
    return Buffer.concat(blocks).subarray(0, length);
  }

  #assertPlain({ flags }: Inode): void {
    if ((flags & (inodeFlags.encrypted | inodeFlags.inlineData)) !== 0) throw new UnreadableDisk('a file is encrypted or inside its inode');
  }

  /** @param number counted from 1 */
  async #inode(number: number): Promise<Inode> {
    const perGroup = this.#superblock.readUInt32LE(40);
    if (number < 1 || number > this.#superblock.readUInt32LE(0)) throw new UnreadableDisk('a directory names an inode that is not there');
    const descriptor = await this.#groupDescriptor(Math.floor((number - 1) / perGroup));
    const table = descriptor.readUInt32LE(8) + (this.#descriptorBytes >= 64 ? descriptor.readUInt32LE(40) * 2 ** 32 : 0);
    const bytes = await this.#read(table * this.#blockBytes + ((number - 1) % perGroup) * inodeBytesOf(this.#superblock), 128);
    return {
      type: bytes.readUInt16LE(0) & inode.typeMask,
      size: exact((BigInt(bytes.readUInt32LE(108)) << 32n) | BigInt(bytes.readUInt32LE(4))),
      flags: bytes.readUInt32LE(32),
      iBlock: bytes.subarray(40, 100),
    };
  }

  async #groupDescriptor(group: number): Promise<Buffer> {
    const perBlock = Math.floor(this.#blockBytes / this.#descriptorBytes);
    const metaGroup = Math.floor(group / perBlock);
    const firstBlock = this.#superblock.readUInt32LE(20);
    let block = firstBlock + 1 + metaGroup;
    if ((this.#features & metaBlockGroups) !== 0 && metaGroup >= this.#superblock.readUInt32LE(260)) {
      const leader = metaGroup * perBlock;
      block = firstBlock + leader * this.#superblock.readUInt32LE(32) + (this.#hasBackup(leader) ? 1 : 0);
    }
    return this.#read(block * this.#blockBytes + (group % perBlock) * this.#descriptorBytes, this.#descriptorBytes);
  }

  /**
   * Whether the first group of a meta block group begins with a copy of the superblock. With sparse_super those are 0, 1 and the
   * powers of 3, 5 and 7. Of these only 0 is a first group, since meta block groups have 16 groups or a higher power of two.
   */
  #hasBackup(leader: number): boolean {
    const isSparse = (this.#superblock.readUInt32LE(100) & 1) !== 0;
    const isSparse2 = (this.#superblock.readUInt32LE(92) & 0x200) !== 0;
    if (isSparse2) return leader === 0 || [588, 592].some((at) => this.#superblock.readUInt32LE(at) === leader);
    return leader === 0 || !isSparse;
  }

  async #logicalBlock(file: Inode, logical: number): Promise<Buffer> {
    const physical = (file.flags & inodeFlags.extents) === 0 ? await this.#mapped(file, logical) : await this.#extent(file, logical);
    return physical === 0 ? Buffer.alloc(this.#blockBytes) : this.#read(physical * this.#blockBytes, this.#blockBytes);
  }

  /** The old block map: twelve direct blocks, then one indirect block. @returns 0 for a hole */
  async #mapped(file: Inode, logical: number): Promise<number> {
    if (logical < 12) return file.iBlock.readUInt32LE(logical * 4);
    if (logical - 12 >= this.#blockBytes / 4) throw new UnreadableDisk('a file is too large for its kind');
    const indirect = file.iBlock.readUInt32LE(48);
    return indirect === 0 ? 0 : (await this.#read(indirect * this.#blockBytes + (logical - 12) * 4, 4)).readUInt32LE(0);
  }

  /** @returns 0 for a hole, or for blocks that are allocated but not written */
  async #extent(file: Inode, logical: number): Promise<number> {
    let node = file.iBlock;
    for (let above = maxExtentDepth + 1; ; ) {
      const depth = node.readUInt16LE(6);
      const count = node.readUInt16LE(2);
      // The depth must decrease from node to node, which ends the walk even in a cyclic tree.
      if (node.readUInt16LE(0) !== 0xf30a || depth >= above || 12 + count * 12 > node.length)
        throw new UnreadableDisk('an extent tree is damaged');
      above = depth;
      let at = 0;
      for (let entry = 12; entry <= count * 12 && node.readUInt32LE(entry) <= logical; entry += 12) at = entry;
      if (at === 0) return 0;
      if (depth === 0) {
        const within = logical - node.readUInt32LE(at);
        // A length above 32768 marks blocks that are allocated but not written.
        const length = node.readUInt16LE(at + 4);
        return length > 32768 || within >= length ? 0 : node.readUInt16LE(at + 6) * 2 ** 32 + node.readUInt32LE(at + 8) + within;
      }
      node = await this.#read((node.readUInt16LE(at + 8) * 2 ** 32 + node.readUInt32LE(at + 4)) * this.#blockBytes, this.#blockBytes);
    }
  }

  /** @param offset bytes from the start of the file system */
  #read(offset: number, length: number): Promise<Buffer> {
    if (offset + length > this.#range.length) throw new UnreadableDisk('the file system points out of its partition');
    return this.#disk.read(this.#range.offset + offset, length);
  }
}
