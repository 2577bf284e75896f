/** Parses the internal snapshots of a qcow2 image. Source: QEMU docs/interop/qcow2.txt */

export interface SnapshotPlace {
  clusterBits: number;
  /** Tables beyond these limits are not from cowherd. */
  snapshots: number;
  tableOffset: number;
  /** The active L1 table, and how much of it belongs to the disk; the rest is memory. */
  active: { offset: number; entries: number; diskEntries: number };
}

export interface InternalSnapshot {
  /** QEMU's tag. */
  name: string;
  l1Offset: number;
  l1Entries: number;
  /** Bytes of the guest's memory and devices; 0 for a disk-only snapshot. */
  stateBytes: number;
}

/** QEMU's own limit. */
const maxSnapshots = 65_536;
/** QEMU's own limits for a snapshot table and an L1 table. Larger values mean damage. */
export const maxTableBytes = 64 * 2 ** 20;
export const maxL1Bytes = 32 * 2 ** 20;
const dirty = 1;

/**
 * @param head the first 104 bytes of the file
 * @returns undefined if it is not a qcow2 image like cowherd's overlays
 */
export function snapshotPlace(head: Buffer): SnapshotPlace | undefined {
  if (head.length < 104 || head.readUInt32BE(0) !== 0x514649fb || head.readUInt32BE(4) !== 3) return undefined;
  const clusterBits = head.readUInt32BE(20);
  // Corrupt, external data, other compression, extended L2 entries: cowherd's overlays have none of these.
  if (head.readUInt32BE(72) !== 0 || (head.readUInt32BE(76) & ~dirty) !== 0) return undefined;
  const snapshots = head.readUInt32BE(60);
  const tableOffset = head.readBigUInt64BE(64);
  const perTable = 2 ** (clusterBits - 3);
  const diskEntries = Math.ceil(Number(head.readBigUInt64BE(24)) / 2 ** clusterBits / perTable);
  const active = { offset: Number(head.readBigUInt64BE(40)), entries: head.readUInt32BE(36), diskEntries };
  if (clusterBits < 9 || clusterBits > 21 || snapshots > maxSnapshots || tableOffset > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return { clusterBits, snapshots, tableOffset: Number(tableOffset), active };
}

/**
 * @param table bytes from the start of the table, possibly beyond its end
 * @returns undefined if it is truncated or damaged
 */
export function parseSnapshotTable(table: Buffer, count: number): InternalSnapshot[] | undefined {
  const found: InternalSnapshot[] = [];
  let at = 0;
  for (let number = 0; number < count; number++) {
    if (at + 40 > table.length) return undefined;
    const l1Offset = Number(table.readBigUInt64BE(at));
    const l1Entries = table.readUInt32BE(at + 8);
    const idLength = table.readUInt16BE(at + 12);
    const nameLength = table.readUInt16BE(at + 14);
    const extraLength = table.readUInt32BE(at + 36);
    const nameAt = at + 40 + extraLength + idLength;
    if (nameAt + nameLength > table.length || !Number.isSafeInteger(l1Offset)) return undefined;
    const stateBytes = extraLength >= 8 ? Number(table.readBigUInt64BE(at + 40)) : table.readUInt32BE(at + 32);
    found.push({ name: table.toString('utf8', nameAt, nameAt + nameLength), l1Offset, l1Entries, stateBytes });
    at = Math.ceil((nameAt + nameLength) / 8) * 8;
  }
  return found;
}

/** One entry of an L2 table; undefined if the guest's cluster is not in this file. */
export type ClusterEntry =
  | { kind: 'data' | 'zero'; offset: number }
  /** Bytes of a compressed cluster. */
  | { kind: 'compressed'; offset: number; bytes: number };

const offsetMaskHigh = 0x00ff_ffff;
const offsetMaskLow = 0xffff_fe00;

/** Offset of the host cluster of an L1 entry, 0 for none. */
export function tableOffset(table: Buffer, entry: number): number {
  return (table.readUInt32BE(entry * 8) & offsetMaskHigh) * 2 ** 32 + ((table.readUInt32BE(entry * 8 + 4) & offsetMaskLow) >>> 0);
}

/** Masks the COPIED bit, which changes with snapshots and does not affect the content. */
export function clusterEntry(table: Buffer, entry: number, clusterBits: number): ClusterEntry | undefined {
  const high = table.readUInt32BE(entry * 8);
  const low = table.readUInt32BE(entry * 8 + 4);
  if ((high & 0x4000_0000) !== 0) {
    const descriptor = (BigInt(high & 0x3fff_ffff) << 32n) | BigInt(low);
    const bits = BigInt(62 - (clusterBits - 8));
    const offset = Number(descriptor & ((1n << bits) - 1n));
    return { kind: 'compressed', offset, bytes: (Number(descriptor >> bits) + 1) * 512 - (offset % 512) };
  }
  const offset = (high & offsetMaskHigh) * 2 ** 32 + ((low & offsetMaskLow) >>> 0);
  if ((low & 1) !== 0) return { kind: 'zero', offset: 0 };
  return offset === 0 ? undefined : { kind: 'data', offset };
}
