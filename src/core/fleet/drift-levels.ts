/** Six levels of drift for a heat map, 0 to 5. */

const lowestBytes = 65_536;
const highest = 5;

/**
 * Lower limits of the levels 1 to 5. They grow by the same factor up to the largest drift: most members drift little, a few a lot. The factor
 * is a power of 2, and at least 2, so that small differences do not look large.
 */
export function driftLevelLimits(driftBytes: readonly number[]): number[] {
  const largest = driftBytes.reduce((most, drift) => Math.max(most, drift), 0);
  const doublings = Math.max(1, Math.ceil(Math.log2(largest / lowestBytes) / highest));
  return Array.from({ length: highest }, (_, step) => lowestBytes * 2 ** (doublings * step));
}

export function driftLevel(limits: readonly number[], driftBytes: number): number {
  return limits.filter((limit) => driftBytes >= limit).length;
}
