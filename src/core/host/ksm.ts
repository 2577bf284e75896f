/** Kernel samepage merging: the kernel merges pages with the same content. */
export interface Ksm {
  /** stopped: merges nothing more, but keeps merged pages. unmerged: turned off, and all pages unmerged. */
  state: 'running' | 'stopped' | 'unmerged';
  /** Merged pages, each used in several places. */
  pagesShared: number;
  /** Additional places of merged pages: the savings. */
  pagesSharing: number;
  /** Empty pages that were replaced by the kernel's zero page. */
  zeroPages: number;
  /** Number of full scans of the memory. */
  fullScans: number;
  pageBytes: number;
}

const states: Record<string, Ksm['state']> = { '0': 'stopped', '1': 'running', '2': 'unmerged' };

/**
 * @param files the files of /sys/kernel/mm/ksm by name; older kernels have fewer
 * @returns undefined if the state or the savings are missing
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
