import type { Disk } from './disk.js';
import { exact } from './read-budget.js';

/** A range of a disk, in bytes. */
export interface ByteRange {
  offset: number;
  length: number;
}

export interface PartitionTable {
  kind: 'none' | 'mbr' | 'gpt';
  /** The first sector has code that a BIOS would run. */
  hasBootCode: boolean;
  /** A partition is there for a BIOS: one for its boot loader, or one that is marked as bootable. */
  isForBios: boolean;
  /** As listed, those outside the disk left out. */
  partitions: ByteRange[];
}

const maxPartitions = 128;
const maxEntryBytes = 1024;
const sectorBytes = 512;
const codeBytes = 440;
const extendedTypes = [0x05, 0x0f, 0x85];
const protectiveType = 0xee;
const active = 0x80;
/** 21686148-6449-6E6F-744E-656564454649, the BIOS boot partition of GRUB. */
const biosBootType = Buffer.from('Hah!IdontNeedEFI', 'latin1');
/** The attribute "legacy BIOS bootable" of the UEFI specification. */
const legacyBootable = 4;

/**
 * Where file systems may be: the partitions as the table lists them, then the whole disk. It comes last, since a disk that was
 * formatted first and partitioned later still has the old superblock in front of its first partition.
 * @throws UnreadableDisk
 */
export async function fileSystemRanges(disk: Disk): Promise<ByteRange[]> {
  return [...(await readPartitionTable(disk)).partitions, { offset: 0, length: disk.virtualBytes }];
}

/** @throws UnreadableDisk */
export async function readPartitionTable(disk: Disk): Promise<PartitionTable> {
  if (disk.virtualBytes < 2 * sectorBytes) return { kind: 'none', hasBootCode: false, isForBios: false, partitions: [] };
  const record = await disk.read(0, sectorBytes);
  const entries = mbrEntries(record);
  const isGpt = entries.some(({ type }) => type === protectiveType);
  const found = isGpt ? await gptPartitions(disk) : await mbrPartitions(disk, entries);
  const inside = ({ offset, length }: ByteRange): boolean => offset > 0 && length > 0 && offset + length <= disk.virtualBytes;
  return {
    kind: isGpt ? 'gpt' : entries.length === 0 ? 'none' : 'mbr',
    hasBootCode: hasSignature(record) && record.subarray(0, codeBytes).some((byte) => byte !== 0),
    isForBios: found.some(({ isForBios }) => isForBios) || entries.some(({ status }) => status === active),
    partitions: found
      .filter(inside)
      .slice(0, maxPartitions)
      .map(({ offset, length }) => ({ offset, length })),
  };
}

interface Partition extends ByteRange {
  isForBios: boolean;
}

interface MbrEntry extends ByteRange {
  type: number;
  status: number;
}

function hasSignature(record: Buffer): boolean {
  return record.readUInt16LE(510) === 0xaa55;
}

/** The four entries of a master or extended boot record, less the unused ones. */
function mbrEntries(record: Buffer): MbrEntry[] {
  if (!hasSignature(record)) return [];
  return [446, 462, 478, 494]
    .map((at) => ({
      status: record.readUInt8(at),
      type: record.readUInt8(at + 4),
      offset: record.readUInt32LE(at + 8) * sectorBytes,
      length: record.readUInt32LE(at + 12) * sectorBytes,
    }))
    .filter(({ status, type }) => type !== 0 && (status & 0x7f) === 0);
}

async function mbrPartitions(disk: Disk, entries: readonly MbrEntry[]): Promise<Partition[]> {
  const partition = ({ offset, length, status }: MbrEntry): Partition => ({ offset, length, isForBios: status === active });
  const partitions = entries.filter(({ type }) => !extendedTypes.includes(type)).map(partition);
  for (const extended of entries.filter(({ type }) => extendedTypes.includes(type))) {
    // A chain of boot records. It may be cyclic, so the count is limited.
    let sector = extended.offset;
    while (partitions.length < maxPartitions && sector > 0 && sector + sectorBytes <= disk.virtualBytes) {
      const chained = mbrEntries(await disk.read(sector, sectorBytes));
      const logical = chained.find(({ type }) => !extendedTypes.includes(type));
      // A logical partition is relative to its own record, the link to the next record to the start of the extended partition.
      if (logical !== undefined) partitions.push(partition({ ...logical, offset: sector + logical.offset }));
      const next = chained.find(({ type }) => extendedTypes.includes(type));
      if (next === undefined || logical === undefined) break;
      sector = extended.offset + next.offset;
    }
  }
  return partitions;
}

/** From the primary table only. Checksums are not verified, since reading the file systems detects damage. */
async function gptPartitions(disk: Disk): Promise<Partition[]> {
  for (const blockBytes of [512, 4096]) {
    if (disk.virtualBytes < 2 * blockBytes) continue;
    const header = await disk.read(blockBytes, sectorBytes);
    if (header.toString('latin1', 0, 8) !== 'EFI PART') continue;
    const entryBytes = header.readUInt32LE(84);
    if (entryBytes < 128 || entryBytes > maxEntryBytes) return [];
    const count = Math.min(header.readUInt32LE(80), maxPartitions);
    const table = await disk.read(exact(header.readBigUInt64LE(72)) * blockBytes, count * entryBytes);
    return Array.from({ length: count }, (_, index) => table.subarray(index * entryBytes, (index + 1) * entryBytes))
      .filter((entry) => entry.subarray(0, 16).some((byte) => byte !== 0))
      .map((entry) => {
        const [first, last] = [exact(entry.readBigUInt64LE(32)), exact(entry.readBigUInt64LE(40))];
        const isForBios = entry.subarray(0, 16).equals(biosBootType) || (entry.readUInt8(48) & legacyBootable) !== 0;
        return { offset: first * blockBytes, length: (last - first + 1) * blockBytes, isForBios };
      });
  }
  return [];
}
