/** What the kernel says of a process's memory, read from its texts under /proc. */

/** Undefined figures are those that the kernel does not have, or does not tell this user. */
export interface ProcessMemory {
  /** In memory now, pages shared with others counted whole; huge pages too. */
  residentBytes?: number | undefined;
  /** The same, each shared page divided by those who share it: these may be added up. */
  proportionalBytes?: number | undefined;
  swapBytes?: number | undefined;
  /** Pages that KSM merged with others, this process's places of them. */
  mergedBytes?: number | undefined;
  /** Why the proportional part is not known; undefined where it is. */
  unread?: 'denied' | 'ended' | 'not supported' | undefined;
}

/** @param status /proc/PID/status, which everybody may read. A process that is ending has no such lines. */
export function readStatus(status: string): Pick<ProcessMemory, 'residentBytes' | 'swapBytes'> {
  const resident = kib(status, 'VmRSS');
  // VmRSS leaves out huge pages, and a guest whose memory is in them would look as if it had none.
  const residentBytes = resident === undefined ? undefined : resident + (kib(status, 'HugetlbPages') ?? 0);
  return { residentBytes, swapBytes: kib(status, 'VmSwap') };
}

/** @param rollup /proc/PID/smaps_rollup @returns undefined where it is cut short, or another text */
export function readProportional(rollup: string): number | undefined {
  const proportional = kib(rollup, 'Pss');
  if (proportional === undefined) return undefined;
  return proportional + (kib(rollup, 'Shared_Hugetlb') ?? 0) + (kib(rollup, 'Private_Hugetlb') ?? 0);
}

/** @param ksmStat /proc/PID/ksm_stat */
export function readMerged(ksmStat: string, pageBytes: number): number | undefined {
  const pages = counted(/^ksm_merging_pages (\d+)$/m.exec(ksmStat)?.[1]);
  return pages === undefined ? undefined : pages * pageBytes;
}

/** What QEMU's `-m` gives its guest: `16`, `1G`, `size=16384k,slots=4,maxmem=…`; MiB where no unit stands. */
export function readGuestMemory(argument: string): number | undefined {
  const [, size, unit = ''] = /^(?:size=)?(\d+)([kmgt]?)(?:,|$)/i.exec(argument) ?? [];
  const count = counted(size);
  const power = { k: 1, m: 2, '': 2, g: 3, t: 4 }[unit.toLowerCase()];
  return count === undefined || power === undefined ? undefined : sane(count * 1024 ** power);
}

/** A line `Name:   12 kB`, whole: a text that was cut in the middle of a number must not be taken for a smaller one. */
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
