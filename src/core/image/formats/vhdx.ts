import { assertVirtualSize, refuse, refuseDamaged } from './refusal.js';

/**
 * The tables of a VHDX image that say whether it has a parent. Its log is left to qemu-img, which does not replay it in a file that it
 * only reads. Source: QEMU block/vhdx.c, and Microsoft's MS-VHDX.
 */

const KiB = 1024;
/** Where QEMU reads the region table, and its length. */
export const regionTable = { offset: 192 * KiB, length: 64 * KiB };
/** Largest part of the metadata that is read: the table, and the items, which are small. */
export const metadataBytes = 1024 * KiB;

const guids = {
  metadataRegion: Buffer.from('06a27c8b90479a4bb8fe575f050f886e', 'hex'),
  fileParameters: Buffer.from('3767a1ca36fa434db3b633f0aa44e76b', 'hex'),
  virtualDiskSize: Buffer.from('2442a52f1bcd7648b2115dbed83bf4b8', 'hex'),
  parentLocator: Buffer.from('2d5fd3a80bb34d45abf7d3d84834ab0c', 'hex'),
};

const hasParent = 2;
/** By the format. */
const mostEntries = 2047;
const entryBytes = 32;

/**
 * @param table the bytes at {@link regionTable}
 * @returns where the metadata is, in bytes
 * @throws BASE_REFUSED
 */
export function vhdxMetadata(path: string, table: Buffer): { offset: number; length: number } {
  if (table.toString('latin1', 0, 4) !== 'regi' || table.length < 16) refuseDamaged(path, 'vhdx');
  const regions = entriesOf(table, { first: 16, count: table.readUInt32LE(8), guid: guids.metadataRegion });
  const [region] = regions;
  if (region === undefined || regions.length > 1) return refuseDamaged(path, 'vhdx');
  const offset = region.readBigUInt64LE(16);
  if (offset > BigInt(Number.MAX_SAFE_INTEGER)) refuseDamaged(path, 'vhdx');
  return { offset: Number(offset), length: Math.min(region.readUInt32LE(24), metadataBytes) };
}

/**
 * @param metadata the bytes at {@link vhdxMetadata}
 * @returns the virtual size in bytes
 * @throws BASE_REFUSED if it has a parent, or is damaged
 */
export function vhdxSize(path: string, metadata: Buffer): bigint {
  if (metadata.toString('latin1', 0, 8) !== 'metadata' || metadata.length < entryBytes) refuseDamaged(path, 'vhdx');
  const items = (guid: Buffer): Buffer[] => entriesOf(metadata, { first: entryBytes, count: metadata.readUInt16LE(10), guid });
  const itemOf = (guid: Buffer): Buffer => {
    const [entry, second] = items(guid);
    const offset = entry?.readUInt32LE(16) ?? 0;
    const value = metadata.subarray(offset, offset + 8);
    return entry === undefined || second !== undefined || value.length < 8 ? refuseDamaged(path, 'vhdx') : value;
  };
  const parameters = itemOf(guids.fileParameters);
  if (items(guids.parentLocator).length > 0 || (parameters.readUInt32LE(4) & hasParent) !== 0) {
    refuse(
      `${path} has a parent: it has only the differences from another disk`,
      'Merge it with its parent where both are. In Hyper-V: Merge-VHD -Path FILE -DestinationPath PARENT',
    );
  }
  return assertVirtualSize(path, itemOf(guids.virtualDiskSize).readBigUInt64LE(0));
}

/** Entries of a table that have that id in their first bytes. */
function entriesOf(table: Buffer, { first, count, guid }: { first: number; count: number; guid: Buffer }): Buffer[] {
  const found: Buffer[] = [];
  for (let index = 0; index < Math.min(count, mostEntries); index++) {
    const entry = table.subarray(first + index * entryBytes, first + (index + 1) * entryBytes);
    if (entry.length < entryBytes) break;
    if (entry.subarray(0, guid.length).equals(guid)) found.push(entry);
  }
  return found;
}
