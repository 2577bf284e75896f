import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import {
  type ProcessMemory,
  readGuestMemory,
  readMerged,
  readPrivate,
  readProportional,
  readStatus,
} from '../../core/host/process-memory.js';
import { isSharedBackend } from '../../core/memory/sharing.js';
import type { QemuProcess } from '../../ports/machine.js';

/** smaps_rollup makes the kernel walk all pages of a process, which uses a core and delays the guest. */
const readsAtOnce = 2;

/** Scans all processes once. Unreadable ones have ended, or are hidden from this user. */
export async function findQemuProcesses(proc: string): Promise<Map<string, QemuProcess>> {
  const found = new Map<string, QemuProcess>();
  const bootTime = Number(/^btime (\d+)/m.exec(await readFile(join(proc, 'stat'), 'utf8'))?.[1] ?? 0);
  const pids = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(join(proc, pid, 'stat'), 'utf8').catch(() => '');
      if (!/^\d+ \(qemu/.test(stat)) return;
      const command = (await readFile(join(proc, pid, 'cmdline'), 'utf8').catch(() => '')).split('\0');
      const uuid = argumentOf(command, '-uuid');
      const startTicks = startTicksOf(stat);
      if (uuid === undefined || startTicks === undefined) return;
      const guestBytes = readGuestMemory(argumentOf(command, '-m') ?? '');
      found.set(uuid, {
        pid: Number(pid),
        startTicks,
        startedAt: (bootTime + startTicks / 100) * 1000,
        guestBytes,
        isSharing: command.some(isSharedBackend),
      });
    }),
  );
  return found;
}

/** @param pageBytes undefined if unknown, which leaves out what KSM merged */
export async function readProcessMemory(
  proc: string,
  processes: readonly QemuProcess[],
  pageBytes: number | undefined,
): Promise<Map<number, ProcessMemory>> {
  const limit = pLimit(readsAtOnce);
  const read = await Promise.all(
    processes.map((process) => limit(async () => [process.pid, await readOne(proc, process, pageBytes)] as const)),
  );
  return new Map(read);
}

async function readOne(proc: string, { pid, startTicks }: QemuProcess, pageBytes: number | undefined): Promise<ProcessMemory> {
  const file = (name: string): Promise<string> => readFile(join(proc, String(pid), name), 'utf8');
  let unread: ProcessMemory['unread'];
  const rollup = await file('smaps_rollup').catch((error: NodeJS.ErrnoException) => {
    unread = ['EACCES', 'EPERM'].includes(error.code ?? '') ? 'denied' : 'not supported';
    return '';
  });
  const [status, ksmStat] = [await file('status').catch(() => ''), await file('ksm_stat').catch(() => '')];
  // Read last: if the pid was reused or the process is ending, the numbers do not describe the guest.
  const stat = await file('stat').catch(() => '');
  const { residentBytes, swapBytes } = readStatus(status);
  if (startTicksOf(stat) !== startTicks || residentBytes === undefined) return { unread: 'ended' };
  const proportionalBytes = readProportional(rollup);
  return {
    privateBytes: readPrivate(rollup),
    residentBytes,
    swapBytes,
    proportionalBytes,
    mergedBytes: pageBytes === undefined ? undefined : readMerged(ksmStat, pageBytes),
    unread: proportionalBytes === undefined ? (unread ?? 'not supported') : undefined,
  };
}

function argumentOf(command: readonly string[], flag: string): string | undefined {
  const position = command.indexOf(flag);
  return position < 0 ? undefined : command[position + 1];
}

/** Field 22 of proc(5), in ticks of 1/100 s since boot. Counted from the end of the name, which may contain anything. */
export function startTicksOf(stat: string): number | undefined {
  const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return /^\d+$/.test(ticks) ? Number(ticks) : undefined;
}
