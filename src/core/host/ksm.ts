/** Kernel samepage merging: the kernel finds pages of the same content in guests, and keeps one for all. */
export interface Ksm {
  /** stopped: nothing more is merged, what is merged stays so. unmerged: turned off, and all given back. */
  state: 'running' | 'stopped' | 'unmerged';
  /** Pages that are kept, each for several places. */
  pagesShared: number;
  /** Places beyond the first of each: what is saved. */
  pagesSharing: number;
  /** Empty pages that were replaced by the kernel's own. */
  zeroPages: number;
  /** How often all memory was gone through. */
  fullScans: number;
  pageBytes: number;
}

const states: Record<string, Ksm['state']> = { '0': 'stopped', '1': 'running', '2': 'unmerged' };

/**
 * @param files the files of /sys/kernel/mm/ksm by name; older kernels have fewer
 * @returns undefined where they do not say whether it is on, and what it saves
 */
export function readKsm(files: ReadonlyMap<string, string>, pageBytes: number): Ksm | undefined {
  const count = (name: string): number | undefined => {
    const text = files.get(name)?.trim() ?? '';
    return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  };
  const state = states[files.get('run')?.trim() ?? ''];
  const [pagesShared, pagesSharing] = [count('pages_shared'), count('pages_sharing')];
  if (state === undefined || pagesShared === undefined || pagesSharing === undefined) return undefined;
  return { state, pagesShared, pagesSharing, zeroPages: count('ksm_zero_pages') ?? 0, fullScans: count('full_scans') ?? 0, pageBytes };
}

export function savedByKsm({ pagesSharing, zeroPages, pageBytes }: Ksm): number {
  return (pagesSharing + zeroPages) * pageBytes;
}
