import type { SharedMemory } from './memory.js';

/** All sizes in bytes on disk (st_blocks × 512) unless called virtual. */
export interface FleetUsage {
  fleet: string;
  base: {
    path: string;
    digest: string;
    /** Of all its layers together. */
    allocatedBytes: number;
    virtualBytes: number;
  };
  /** Every file of the fleet's base images, including all layers; fleets may share some. */
  baseFiles: Array<{ path: string; allocatedBytes: number }>;
  freshOverlayBytes: number;
  /**
   * Per member, for all disks: bytes on disk, bytes of checkpoints, memory in them without a checkpoint record; the size of full
   * copies of their base images, and the virtual size.
   */
  members: Array<{
    name: string;
    allocatedBytes: number;
    checkpointBytes: number;
    strayBytes: number;
    copyBytes: number;
    virtualBytes: number;
  }>;
  /** cloud-init seeds of all members. Full copies would need them, too, so they do not count as savings. */
  seedBytes: number;
  sharedMemory: SharedMemory | null;
}

export interface Savings {
  members: number;
  /**
   * Checkpoints (mostly memory) count in the first and not as drift. Neither do strayBytes: the memory of checkpoints
   * without a record, which were abandoned while QEMU was saving them.
   */
  overlays: { allocatedBytes: number; driftBytes: number; checkpointBytes: number; strayBytes: number };
  /** Size of one full copy of the base per member: as a sparse copy, and as the virtual size. */
  fullCopies: { allocatedBytes: number; virtualBytes: number };
  /** Compared with sparse full copies, after subtracting the base image. Negative if overlays have outgrown them. */
  saved: { bytes: number; percent: number };
}

export interface FleetReport extends Savings {
  fleet: string;
  base: FleetUsage['base'];
  /** Bytes of all base images: the fleet's, those of further disks, and the other one during a rebase. */
  bases: { allocatedBytes: number; files: FleetUsage['baseFiles'] };
  seedBytes: number;
  perMember: Array<{ name: string; allocatedBytes: number; driftBytes: number; checkpointBytes: number; strayBytes: number }>;
  /** Running clones that share the memory of their source VM; null if there are none. */
  sharedMemory: SharedMemory | null;
}

export function reportFleet(usage: FleetUsage): FleetReport {
  const perMember = usage.members
    .map(({ name, allocatedBytes, checkpointBytes, strayBytes }) => ({
      name,
      allocatedBytes,
      driftBytes: Math.max(0, allocatedBytes - usage.freshOverlayBytes - checkpointBytes - strayBytes),
      checkpointBytes,
      strayBytes,
    }))
    .sort((a, b) => b.driftBytes - a.driftBytes || (a.name < b.name ? -1 : 1));
  const count = perMember.length;
  const overlays = {
    allocatedBytes: sum(perMember.map((member) => member.allocatedBytes)),
    driftBytes: sum(perMember.map((member) => member.driftBytes)),
    checkpointBytes: sum(perMember.map((member) => member.checkpointBytes)),
    strayBytes: sum(perMember.map((member) => member.strayBytes)),
  };
  const fullCopies = {
    allocatedBytes: sum(usage.members.map((member) => member.copyBytes)),
    virtualBytes: sum(usage.members.map((member) => member.virtualBytes)),
  };
  const bases = { allocatedBytes: sum(usage.baseFiles.map((file) => file.allocatedBytes)), files: usage.baseFiles };
  return {
    fleet: usage.fleet,
    members: count,
    base: usage.base,
    bases,
    seedBytes: usage.seedBytes,
    overlays,
    fullCopies,
    saved: savedAgainst(fullCopies.allocatedBytes, bases.allocatedBytes + overlays.allocatedBytes),
    perMember,
    sharedMemory: usage.sharedMemory,
  };
}

/** Several fleets together: shared base images and layers are counted once. */
export function totalSavings(reports: readonly FleetReport[]): Savings & { bases: number; baseBytes: number } {
  const bases = new Set(reports.map((report) => report.base.path));
  const files = new Map(reports.flatMap((report) => report.bases.files.map(({ path, allocatedBytes }) => [path, allocatedBytes])));
  const baseBytes = sum([...files.values()]);
  const overlays = {
    allocatedBytes: sum(reports.map((report) => report.overlays.allocatedBytes)),
    driftBytes: sum(reports.map((report) => report.overlays.driftBytes)),
    checkpointBytes: sum(reports.map((report) => report.overlays.checkpointBytes)),
    strayBytes: sum(reports.map((report) => report.overlays.strayBytes)),
  };
  const fullCopies = {
    allocatedBytes: sum(reports.map((report) => report.fullCopies.allocatedBytes)),
    virtualBytes: sum(reports.map((report) => report.fullCopies.virtualBytes)),
  };
  return {
    members: sum(reports.map((report) => report.members)),
    bases: bases.size,
    baseBytes,
    overlays,
    fullCopies,
    saved: savedAgainst(fullCopies.allocatedBytes, baseBytes + overlays.allocatedBytes),
  };
}

function savedAgainst(fullBytes: number, ownBytes: number): { bytes: number; percent: number } {
  const bytes = fullBytes - ownBytes;
  return { bytes, percent: fullBytes === 0 ? 0 : Math.round((bytes / fullBytes) * 1000) / 10 };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export interface HistogramBin {
  fromBytes: number;
  toBytes: number;
  count: number;
}

/** Drift in bins that double in width from 64 KiB: most members drift little, a few a lot. */
export function driftHistogram(driftBytes: readonly number[]): HistogramBin[] {
  const bins: HistogramBin[] = [];
  for (const drift of driftBytes) {
    let position = 0;
    while (drift >= 65_536 * 2 ** position) position++;
    while (bins.length <= position) {
      const from = bins.length === 0 ? 0 : 65_536 * 2 ** (bins.length - 1);
      bins.push({ fromBytes: from, toBytes: 65_536 * 2 ** bins.length, count: 0 });
    }
    const bin = bins[position];
    if (bin !== undefined) bin.count++;
  }
  return bins;
}
