import { entryBytes, isFormat } from './overlay-format.js';
import { subclusterRuns, subclusters } from './subclusters.js';

/** Parses the internal snapshots of a qcow2 image. Source: QEMU docs/interop/qcow2.txt */

export interface SnapshotPlace {
  clusterBits: number;
  /** Entries of L2 tables have a second half: which of the subclusters are allocated. */
  extendedL2: boolean;
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
const extended = 16;

/**
 * @param head the first 104 bytes of the file
 * @returns undefined if it is not a qcow2 image like cowherd's overlays
 */
export function snapshotPlace(head: Buffer): SnapshotPlace | undefined {
  if (head.length < 104 || head.readUInt32BE(0) !== 0x514649fb || head.readUInt32BE(4) !== 3) return undefined;
  const clusterBits = head.readUInt32BE(20);
  // Corrupt, external data, other compression: cowherd's overlays have none of these.
  if (head.readUInt32BE(72) !== 0 || (head.readUInt32BE(76) & ~(dirty | extended)) !== 0) return undefined;
  const extendedL2 = (head.readUInt32BE(76) & extended) !== 0;
  if (!isFormat({ clusterBytes: 2 ** clusterBits, extendedL2 })) return undefined;
  const snapshots = head.readUInt32BE(60);
  const tableOffset = head.readBigUInt64BE(64);
  const perTable = 2 ** clusterBits / entryBytes(extendedL2);
  const diskEntries = Math.ceil(Number(head.readBigUInt64BE(24)) / 2 ** clusterBits / perTable);
  const active = { offset: Number(head.readBigUInt64BE(40)), entries: head.readUInt32BE(36), diskEntries };
  if (snapshots > maxSnapshots || tableOffset > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return { clusterBits, extendedL2, snapshots, tableOffset: Number(tableOffset), active };
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

/** What this file has of a cluster of the guest: all of it, or with subclusters the adjacent ones that are read from the same place. */
export interface ClusterPart {
  kind: 'data' | 'zero' | 'compressed';
  offset: number;
  /** In the file: none of zeros, and fewer than the cluster has if it is compressed. */
  bytes: number;
  /** Which subclusters, for a digest; empty if the image has none. */
  subclusters: string;
}

const offsetMaskHigh = 0x00ff_ffff;
const offsetMaskLow = 0xffff_fe00;

/** Offset of the host cluster of an L1 entry, 0 for none. */
export function tableOffset(table: Buffer, entry: number): number {
  return (table.readUInt32BE(entry * 8) & offsetMaskHigh) * 2 ** 32 + ((table.readUInt32BE(entry * 8 + 4) & offsetMaskLow) >>> 0);
}

/**
 * The parts of a cluster that are in this file. Masks the COPIED bit, which changes with snapshots and does not affect the content.
 * @returns undefined if the entry is invalid
 */
export function clusterParts(
  table: Buffer,
  entry: number,
  { clusterBits, extendedL2 }: Pick<SnapshotPlace, 'clusterBits' | 'extendedL2'>,
): ClusterPart[] | undefined {
  const at = entry * entryBytes(extendedL2);
  const high = table.readUInt32BE(at);
  const low = table.readUInt32BE(at + 4);
  if ((high & 0x4000_0000) !== 0) {
    const descriptor = (BigInt(high & 0x3fff_ffff) << 32n) | BigInt(low);
    const bits = BigInt(62 - (clusterBits - 8));
    const offset = Number(descriptor & ((1n << bits) - 1n));
    return [{ kind: 'compressed', offset, bytes: (Number(descriptor >> bits) + 1) * 512 - (offset % 512), subclusters: '' }];
  }
  const offset = (high & offsetMaskHigh) * 2 ** 32 + ((low & offsetMaskLow) >>> 0);
  if (extendedL2) {
    const [zeros, allocated] = [table.readUInt32BE(at + 8), table.readUInt32BE(at + 12)];
    return subclusterParts(offset, zeros, allocated, 2 ** clusterBits / subclusters);
  }
  if ((low & 1) !== 0) return [{ kind: 'zero', offset: 0, bytes: 0, subclusters: '' }];
  return offset === 0 ? [] : [{ kind: 'data', offset, bytes: 2 ** clusterBits, subclusters: '' }];
}

/** Those of the backing file are left out: the file may end before them, and may have anything in their place. */
function subclusterParts(host: number, zeros: number, allocated: number, each: number): ClusterPart[] | undefined {
  return subclusterRuns(zeros, allocated, host)?.flatMap(({ kind, first, count }): ClusterPart[] => {
    if (kind === 'backing') return [];
    const where = kind === 'data' ? { offset: host + first * each, bytes: count * each } : { offset: 0, bytes: 0 };
    return [{ kind, ...where, subclusters: `.${first}+${count}` }];
  });
}
