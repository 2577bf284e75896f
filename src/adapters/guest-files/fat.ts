import type { Disk } from './disk.js';
import type { ByteRange } from './partitions.js';

/**
 * Reading directories of FAT12, FAT16 and FAT32, by their short names.
 * Source: Microsoft FAT specification (August 2005)
 */

const maxDirectoryBytes = 64 * 1024;
const maxDirectories = 64;
const entryBytes = 32;
const attribute = { label: 0x08, directory: 0x10, longName: 0x0f };

interface Entry {
  /** Eleven characters, as in the directory. */
  name: string;
  isDirectory: boolean;
  cluster: number;
}

/**
 * Whether UEFI firmware may find a boot loader: a file \EFI\*\*.EFI.
 * @returns false also if there is no FAT file system
 * @throws UnreadableDisk
 */
export async function hasUefiLoader(disk: Disk, range: ByteRange): Promise<boolean> {
  const fat = await openFat(disk, range);
  const top = (await fat?.root())?.find(({ name, isDirectory }) => isDirectory && name === 'EFI        ');
  if (fat === undefined || top === undefined) return false;
  const vendors = (await fat.directory(top.cluster)).filter(({ name, isDirectory }) => isDirectory && !name.startsWith('.'));
  for (const { cluster } of vendors.slice(0, maxDirectories)) {
    const files = await fat.directory(cluster);
    if (files.some(({ name, isDirectory }) => !isDirectory && name.endsWith('EFI'))) return true;
  }
  return false;
}

async function openFat(disk: Disk, range: ByteRange): Promise<Fat | undefined> {
  if (range.length < 512) return undefined;
  const sector = await disk.read(range.offset, 512);
  const sectorBytes = sector.readUInt16LE(11);
  const perCluster = sector.readUInt8(13);
  const isFat =
    sector.readUInt16LE(510) === 0xaa55 &&
    [512, 1024, 2048, 4096].includes(sectorBytes) &&
    perCluster > 0 &&
    (perCluster & (perCluster - 1)) === 0 &&
    sector.readUInt16LE(14) > 0 &&
    [1, 2].includes(sector.readUInt8(16)) &&
    (sector.readUInt16LE(22) || sector.readUInt32LE(36)) > 0;
  return isFat ? new Fat(disk, range, sector) : undefined;
}

class Fat {
  readonly #disk: Disk;
  readonly #range: ByteRange;
  readonly #clusterBytes: number;
  readonly #kind: 12 | 16 | 32;
  readonly #clusters: number;
  /** Bytes from the start of the file system. */
  readonly #tableAt: number;
  readonly #rootAt: number;
  readonly #rootBytes: number;
  readonly #dataAt: number;
  readonly #rootCluster: number;

  constructor(disk: Disk, range: ByteRange, sector: Buffer) {
    this.#disk = disk;
    this.#range = range;
    const sectorBytes = sector.readUInt16LE(11);
    const tableSectors = sector.readUInt16LE(22) || sector.readUInt32LE(36);
    this.#clusterBytes = sectorBytes * sector.readUInt8(13);
    this.#tableAt = sector.readUInt16LE(14) * sectorBytes;
    this.#rootAt = this.#tableAt + sector.readUInt8(16) * tableSectors * sectorBytes;
    this.#rootBytes = sector.readUInt16LE(17) * entryBytes;
    this.#dataAt = this.#rootAt + Math.ceil(this.#rootBytes / sectorBytes) * sectorBytes;
    const totalSectors = sector.readUInt16LE(19) || sector.readUInt32LE(32);
    this.#clusters = Math.floor((totalSectors * sectorBytes - this.#dataAt) / this.#clusterBytes);
    this.#kind = this.#clusters < 4085 ? 12 : this.#clusters < 65525 ? 16 : 32;
    this.#rootCluster = sector.readUInt32LE(44);
  }

  async root(): Promise<Entry[]> {
    if (this.#kind === 32) return this.directory(this.#rootCluster);
    return entriesIn(await this.#read(this.#rootAt, Math.min(this.#rootBytes, maxDirectoryBytes)));
  }

  /** The entries of its first 64 KiB; the length also bounds a cyclic chain. */
  async directory(cluster: number): Promise<Entry[]> {
    const pieces: Buffer[] = [];
    for (let at = cluster, bytes = 0; bytes < maxDirectoryBytes && at >= 2 && at < this.#clusters + 2; at = await this.#next(at)) {
      pieces.push(await this.#read(this.#dataAt + (at - 2) * this.#clusterBytes, this.#clusterBytes));
      bytes += this.#clusterBytes;
    }
    return entriesIn(Buffer.concat(pieces));
  }

  /** The next cluster of a chain. Values behind the last cluster end it. */
  async #next(cluster: number): Promise<number> {
    if (this.#kind === 32) return (await this.#read(this.#tableAt + cluster * 4, 4)).readUInt32LE() & 0x0fff_ffff;
    if (this.#kind === 16) return (await this.#read(this.#tableAt + cluster * 2, 2)).readUInt16LE();
    const pair = (await this.#read(this.#tableAt + Math.floor(cluster * 1.5), 2)).readUInt16LE();
    return cluster % 2 === 0 ? pair & 0xfff : pair >> 4;
  }

  async #read(offset: number, length: number): Promise<Buffer> {
    if (offset + length > this.#range.length) return Buffer.alloc(length);
    return this.#disk.read(this.#range.offset + offset, length);
  }
}

function entriesIn(directory: Buffer): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at + entryBytes <= directory.length && directory[at] !== 0; at += entryBytes) {
    const flags = directory.readUInt8(at + 11);
    const isDeleted = directory[at] === 0xe5;
    if (isDeleted || (flags & attribute.longName) === attribute.longName || (flags & attribute.label) !== 0) continue;
    entries.push({
      name: directory.toString('latin1', at, at + 11),
      isDirectory: (flags & attribute.directory) !== 0,
      cluster: directory.readUInt16LE(at + 20) * 2 ** 16 + directory.readUInt16LE(at + 26),
    });
  }
  return entries;
}
