import type { Disk } from './disk.js';
import { exact } from './read-budget.js';

/** A range of a disk, in bytes. */
export interface ByteRange {
  offset: number;
  length: number;
}

const maxPartitions = 128;
const maxEntryBytes = 1024;
const sectorBytes = 512;
const extendedTypes = [0x05, 0x0f, 0x85];
const protectiveType = 0xee;

/**
 * Where file systems may be: the partitions as the table lists them, then the whole disk. It comes last, since a disk that was
 * formatted first and partitioned later still has the old superblock in front of its first partition.
 * @throws UnreadableDisk
 */
export async function fileSystemRanges(disk: Disk): Promise<ByteRange[]> {
  const wholeDisk = { offset: 0, length: disk.virtualBytes };
  if (disk.virtualBytes < 2 * sectorBytes) return [wholeDisk];
  const entries = await mbrEntries(disk, 0);
  const partitions = entries.some(({ type }) => type === protectiveType) ? await gptPartitions(disk) : await mbrPartitions(disk, entries);
  const inside = ({ offset, length }: ByteRange): boolean => offset > 0 && length > 0 && offset + length <= disk.virtualBytes;
  return [...partitions.filter(inside).slice(0, maxPartitions), wholeDisk];
}

interface MbrEntry extends ByteRange {
  type: number;
}

/**
 * The four entries of a master or extended boot record, less the unused ones.
 * @param sector byte offset of the record
 */
async function mbrEntries(disk: Disk, sector: number): Promise<MbrEntry[]> {
  const record = await disk.read(sector, sectorBytes);
  if (record.readUInt16LE(510) !== 0xaa55) return [];
  return [446, 462, 478, 494]
    .map((at) => ({
      status: record.readUInt8(at),
      type: record.readUInt8(at + 4),
      offset: record.readUInt32LE(at + 8) * sectorBytes,
      length: record.readUInt32LE(at + 12) * sectorBytes,
    }))
    .filter(({ status, type }) => type !== 0 && (status & 0x7f) === 0);
}

async function mbrPartitions(disk: Disk, entries: readonly MbrEntry[]): Promise<ByteRange[]> {
  const partitions: ByteRange[] = entries.filter(({ type }) => !extendedTypes.includes(type));
  for (const extended of entries.filter(({ type }) => extendedTypes.includes(type))) {
    // A chain of boot records. It may be cyclic, so the count is limited.
    let sector = extended.offset;
    while (partitions.length < maxPartitions && sector > 0 && sector + sectorBytes <= disk.virtualBytes) {
      const chained = await mbrEntries(disk, sector);
      const logical = chained.find(({ type }) => !extendedTypes.includes(type));
      // A logical partition is relative to its own record, the link to the next record to the start of the extended partition.
      if (logical !== undefined) partitions.push({ offset: sector + logical.offset, length: logical.length });
      const next = chained.find(({ type }) => extendedTypes.includes(type));
      if (next === undefined || logical === undefined) break;
      sector = extended.offset + next.offset;
    }
  }
  return partitions;
}

/** From the primary table only. Checksums are not verified, since reading the file systems detects damage. */
async function gptPartitions(disk: Disk): Promise<ByteRange[]> {
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
      .map((entry) => ({ first: exact(entry.readBigUInt64LE(32)), last: exact(entry.readBigUInt64LE(40)) }))
      .map(({ first, last }) => ({ offset: first * blockBytes, length: (last - first + 1) * blockBytes }));
  }
  return [];
}
