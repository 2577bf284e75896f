/** Memory of a process, from /proc. */

/** Figures are undefined if the kernel does not have them, or hides them from this user. */
export interface ProcessMemory {
  /** Resident memory; shared pages count fully; includes huge pages. */
  residentBytes?: number | undefined;
  /** The same with each shared page divided by the number of sharers, so that it can be summed. */
  proportionalBytes?: number | undefined;
  swapBytes?: number | undefined;
  /** Pages that no other process has. */
  privateBytes?: number | undefined;
  /** This process's pages that KSM merged. */
  mergedBytes?: number | undefined;
  /** Why the proportional memory is unknown; undefined if it is known. */
  unread?: 'denied' | 'ended' | 'not supported' | undefined;
}

/** @param status /proc/PID/status, which is world-readable. An exiting process has no such lines. */
export function readStatus(status: string): Pick<ProcessMemory, 'residentBytes' | 'swapBytes'> {
  const resident = kib(status, 'VmRSS');
  // VmRSS excludes huge pages, which may contain all of a guest's memory.
  const residentBytes = resident === undefined ? undefined : resident + (kib(status, 'HugetlbPages') ?? 0);
  return { residentBytes, swapBytes: kib(status, 'VmSwap') };
}

/** @param rollup /proc/PID/smaps_rollup @returns undefined if it is truncated or another text */
export function readProportional(rollup: string): number | undefined {
  const proportional = kib(rollup, 'Pss');
  if (proportional === undefined) return undefined;
  return proportional + (kib(rollup, 'Shared_Hugetlb') ?? 0) + (kib(rollup, 'Private_Hugetlb') ?? 0);
}

/** @param rollup /proc/PID/smaps_rollup @returns undefined if it is truncated or another text */
export function readPrivate(rollup: string): number | undefined {
  const [clean, dirty] = [kib(rollup, 'Private_Clean'), kib(rollup, 'Private_Dirty')];
  return clean === undefined || dirty === undefined ? undefined : clean + dirty + (kib(rollup, 'Private_Hugetlb') ?? 0);
}

/** @param ksmStat /proc/PID/ksm_stat */
export function readMerged(ksmStat: string, pageBytes: number): number | undefined {
  const pages = counted(/^ksm_merging_pages (\d+)$/m.exec(ksmStat)?.[1]);
  return pages === undefined ? undefined : pages * pageBytes;
}

/** The guest memory of QEMU's `-m`: `16`, `1G`, `size=16384k,slots=4,maxmem=…`; MiB without a unit. */
export function readGuestMemory(argument: string): number | undefined {
  const [, size, unit = ''] = /^(?:size=)?(\d+)([kmgt]?)(?:,|$)/i.exec(argument) ?? [];
  const count = counted(size);
  const power = { k: 1, m: 2, '': 2, g: 3, t: 4 }[unit.toLowerCase()];
  return count === undefined || power === undefined ? undefined : sane(count * 1024 ** power);
}

/** A complete line `Name:   12 kB`: a truncated number must not be read as a smaller one. */
function kib(text: string, name: string): number | undefined {
  const count = counted(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]);
  return count === undefined ? undefined : sane(count * 1024);
}

function counted(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : sane(Number(digits));
}

function sane(count: number): number | undefined {
  return Number.isSafeInteger(count) ? count : undefined;
}
