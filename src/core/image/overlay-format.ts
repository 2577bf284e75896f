import prettyBytes from 'pretty-bytes';

/** How a qcow2 file maps the disk: in clusters, which with extended L2 entries have 32 subclusters each. */
export interface OverlayFormat {
  /** A power of two. */
  clusterBytes: number;
  extendedL2: boolean;
}

const KiB = 1024;

/** What qemu-img creates without options, and so what disks of fleets have whose record names no format. */
export const formerOverlayFormat: OverlayFormat = { clusterBytes: 64 * KiB, extendedL2: false };

/**
 * For new fleets that ask for no other. Extended L2 entries take less space, but with them QEMU 7.2 aborts at `virsh blockpull`: see
 * docs/decisions/2026-11-26-overlay-format.md.
 */
export const defaultOverlayFormat: OverlayFormat = formerOverlayFormat;

/** QEMU's own limits. */
const clusterLimits = { min: 512, max: 2048 * KiB };
const minExtendedBytes = 16 * KiB;
const maxL1Entries = 2 ** 22;

export const clusterSizeRule = 'write a power of two from 512 to 2MiB, such as 64KiB or 128KiB';

const unitBytes: Record<string, number> = { '': 1, b: 1, k: KiB, kb: KiB, kib: KiB, m: KiB ** 2, mb: KiB ** 2, mib: KiB ** 2 };

/** `512`, `128k`, `128KiB`, `2M` → bytes; undefined if that is no cluster size. */
export function parseClusterSize(text: string): number | undefined {
  const match = /^(\d{1,7})\s*([a-z]*)$/i.exec(text.trim());
  const bytes = Number(match?.[1]) * (unitBytes[(match?.[2] ?? '').toLowerCase()] ?? Number.NaN);
  return isClusterSize(bytes) ? bytes : undefined;
}

export function isClusterSize(bytes: number): boolean {
  return bytes >= clusterLimits.min && bytes <= clusterLimits.max && Number.isInteger(Math.log2(bytes));
}

/** Both parts, if one or none is given: the rest is that of the default format. */
export function completeFormat({
  clusterBytes = defaultOverlayFormat.clusterBytes,
  extendedL2 = defaultOverlayFormat.extendedL2,
}: {
  clusterBytes?: number | undefined;
  extendedL2?: boolean | undefined;
}): OverlayFormat {
  return { clusterBytes, extendedL2 };
}

/** Why QEMU cannot create such an image; undefined if it can. */
export function formatProblem({ clusterBytes, extendedL2 }: OverlayFormat): string | undefined {
  if (!extendedL2 || clusterBytes >= minExtendedBytes) return undefined;
  return `clusters of ${formatBytes(clusterBytes)} are too small for extended L2 entries: use at least ${formatBytes(minExtendedBytes)}, or turn extended L2 off`;
}

/** Whether QEMU can read and create such an image. */
export function isFormat(format: OverlayFormat): boolean {
  return isClusterSize(format.clusterBytes) && formatProblem(format) === undefined;
}

/** Bytes of an L2 entry. */
export function entryBytes(extendedL2: boolean): number {
  return extendedL2 ? 16 : 8;
}

/** The largest disk: an L1 table has at most 32 MiB, and each of its entries refers to one cluster of L2 entries. */
export function maxDiskBytes({ clusterBytes, extendedL2 }: OverlayFormat): number {
  return maxL1Entries * (clusterBytes / entryBytes(extendedL2)) * clusterBytes;
}

/** `64 KiB clusters`, `128 KiB clusters with extended L2`. */
export function formatOverlay({ clusterBytes, extendedL2 }: OverlayFormat): string {
  return `${formatBytes(clusterBytes)} clusters${extendedL2 ? ' with extended L2' : ''}`;
}

function formatBytes(bytes: number): string {
  return prettyBytes(bytes, { binary: true });
}
