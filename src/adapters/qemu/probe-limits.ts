/** An emulated guest needs a fraction of a second, even on a busy host. */
export const longestProbeMs = 3_000;
