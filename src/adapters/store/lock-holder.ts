import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type LockHolder, type LockNote, parseLockNote } from '../../core/lock.js';
import { startTicksOf } from '../qemu/processes.js';

/** Finds the process that holds a lock, from the note in the lock file and from the kernel. */

interface Inode {
  dev: bigint;
  ino: bigint;
}

interface Process {
  pid: number;
  command: string;
}

/** A new holder may not have written its note yet, and its flock(1) may still be running. */
const secondLookMs = 250;
const processesAtOnce = 32;

/** @param path of a lock that is held */
export async function findHolder(path: string): Promise<LockHolder> {
  const first = await look(path);
  if (first.kind === 'run') return first;
  await setTimeout(secondLookMs);
  return look(path);
}

/** The run of cowherd that holds a lock, by its note alone: other holders are not looked for. */
export async function findRun(path: string): Promise<LockNote | undefined> {
  const note = await noteIn(path);
  // The note is removed before the lock is released, so the note of a live process is valid.
  return note !== undefined && (await isAlive(note)) ? note : undefined;
}

async function noteIn(path: string): Promise<LockNote | undefined> {
  return parseLockNote(await readFile(path, 'utf8').catch(() => ''));
}

async function look(path: string): Promise<LockHolder> {
  const note = await noteIn(path);
  if (note !== undefined && (await isAlive(note))) return { kind: 'run', ...note, ...(note.pid === process.pid ? { isOwn: true } : {}) };
  const inode = await lstat(path, { bigint: true }).catch(() => undefined);
  if (inode === undefined) return { kind: 'unknown' };
  const locker = await findLocker(inode);
  if (locker !== undefined) return { kind: 'stranger', ...locker };
  const opener = await findOpener(path, inode);
  if (opener === undefined) return { kind: 'unknown' };
  return note === undefined ? { kind: 'stranger', ...opener } : { kind: 'orphan', ...note, ...opener };
}

async function isAlive({ pid, startTicks }: LockNote): Promise<boolean> {
  const ticks = startTicksOf(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''));
  if (ticks !== undefined) return startTicks === undefined || ticks === startTicks;
  // /proc may hide processes of other users.
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** A live process that took the lock itself. For a run of cowherd that is flock(1), which has ended. See proc_locks(5). */
async function findLocker({ dev, ino }: Inode): Promise<Process | undefined> {
  for (const { pid } of (await heldLocks()).filter((lock) => lock.ino === ino && lock.dev === dev)) {
    const command = await commandOf(pid);
    if (command !== undefined) return { pid, command };
  }
  return undefined;
}

/** Whether the kernel lists a lock on that file, for users who cannot open it. */
export async function isListed(path: string): Promise<boolean> {
  const inode = await lstat(path, { bigint: true }).catch(() => undefined);
  return inode !== undefined && (await heldLocks()).some((lock) => lock.ino === inode.ino && lock.dev === inode.dev);
}

async function heldLocks(): Promise<Array<Inode & { pid: number }>> {
  const text = await readFile('/proc/locks', 'utf8').catch(() => '');
  return [...text.matchAll(/^\d+: FLOCK +\S+ +\S+ +(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) /gm)].map(([, pid, major, minor, ino]) => ({
    pid: Number(pid),
    dev: deviceNumber(BigInt(`0x${major}`), BigInt(`0x${minor}`)),
    ino: BigInt(ino ?? 0),
  }));
}

/** As stat(2) gives it, see makedev(3). */
function deviceNumber(major: bigint, minor: bigint): bigint {
  return ((major & 0xfffn) << 8n) | ((major & ~0xfffn) << 32n) | (minor & 0xffn) | ((minor & ~0xffn) << 12n);
}

/** A process whose open file has the lock, including inherited ones. This user sees its own processes, root sees all. */
async function findOpener(path: string, { dev, ino }: Inode): Promise<Process | undefined> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  for (let from = 0; from < pids.length; from += processesAtOnce) {
    const found = await Promise.all(pids.slice(from, from + processesAtOnce).map((pid) => hasLocked(pid, basename(path), { dev, ino })));
    const pid = found.find((one) => one !== undefined);
    if (pid !== undefined) return { pid: Number(pid), command: (await commandOf(Number(pid))) ?? '?' };
  }
  return undefined;
}

/** @returns the pid if it has the lock; unreadable processes have ended or are hidden */
async function hasLocked(pid: string, name: string, { dev, ino }: Inode): Promise<string | undefined> {
  const directory = join('/proc', pid, 'fd');
  for (const descriptor of await readdir(directory).catch(() => [])) {
    const file = join(directory, descriptor);
    if (!(await readlink(file).catch(() => '')).endsWith(`/${name}`)) continue;
    const stats = await stat(file, { bigint: true }).catch(() => undefined);
    if (stats?.ino !== ino || stats.dev !== dev) continue;
    if (/^lock:.* FLOCK /m.test(await readFile(join('/proc', pid, 'fdinfo', descriptor), 'utf8').catch(() => ''))) return pid;
  }
  return undefined;
}

/** A process may have any name, so it is escaped. */
async function commandOf(pid: number): Promise<string | undefined> {
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => undefined);
  return name?.replace(/\n$/, '').replace(/[^\x20-\x7e]/g, '?');
}
