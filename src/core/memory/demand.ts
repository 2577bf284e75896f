/** Memory that clones are expected to need, since they share that of their source VM. */

export interface CloneDemand {
  /** Clones that will be created. */
  count: number;
  /** For each: pages that it writes, and QEMU's own memory. */
  eachBytes: number;
  /** For the RAM image, which all share. 0 if clones are running that have it in memory. */
  onceBytes: number;
  /** Whether `eachBytes` comes from running clones of the same memory. */
  isMeasured: boolean;
}

/** Without running clones: the share of its memory that a clone is expected to write, and the least. */
const assumedShare = 1 / 4;
const leastBytes = 64 * 2 ** 20;
/** Clones that are older have written more. */
const margin = 1.25;

/**
 * @param guestBytes memory of the guest
 * @param ramBytes bytes on disk of the RAM image
 * @param own private memory of each running clone
 */
export function cloneDemand(count: number, guestBytes: number, ramBytes: number, own: readonly number[]): CloneDemand {
  const assumed = Math.min(guestBytes, Math.max(leastBytes, guestBytes * assumedShare));
  if (own.length === 0) return { count, eachBytes: assumed, onceBytes: ramBytes, isMeasured: false };
  return { count, eachBytes: Math.round(Math.max(...own) * margin), onceBytes: 0, isMeasured: true };
}
