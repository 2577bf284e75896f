import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type LockHolder, type LockNote, parseLockNote } from '../../core/lock.js';
import { startTicksOf } from '../qemu/processes.js';

/** Which process holds a lock that was found to be held: what its holder wrote into the file, and what the kernel says. */

interface Inode {
  dev: bigint;
  ino: bigint;
}

interface Process {
  pid: number;
  command: string;
}

/** A holder that has just taken the lock may not have written its note yet, and the flock(1) that it took it with may still run. */
const secondLookMs = 250;
const processesAtOnce = 32;

/** @param path of a lock that is held */
export async function findHolder(path: string): Promise<LockHolder> {
  const first = await look(path);
  if (first.kind === 'run') return first;
  await setTimeout(secondLookMs);
  return look(path);
}

async function look(path: string): Promise<LockHolder> {
  const note = parseLockNote(await readFile(path, 'utf8').catch(() => ''));
  // Its note goes before the lock does, so one of a process that still lives is right.
  if (note !== undefined && (await isAlive(note))) return { kind: 'run', ...note };
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
  // Where /proc hides the processes of others.
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** A process that took the lock itself and lives; of a run of cowherd that was flock(1), which has ended. See proc_locks(5). */
async function findLocker({ dev, ino }: Inode): Promise<Process | undefined> {
  for (const { pid } of (await heldLocks()).filter((lock) => lock.ino === ino && lock.dev === dev)) {
    const command = await commandOf(pid);
    if (command !== undefined) return { pid, command };
  }
  return undefined;
}

/** Whether the kernel lists a lock on that file; for users that may not open it. */
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

/** A process with an open file that has the lock, also one that inherited it. This user sees its own ones, root all. */
async function findOpener(path: string, { dev, ino }: Inode): Promise<Process | undefined> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  for (let from = 0; from < pids.length; from += processesAtOnce) {
    const found = await Promise.all(pids.slice(from, from + processesAtOnce).map((pid) => hasLocked(pid, basename(path), { dev, ino })));
    const pid = found.find((one) => one !== undefined);
    if (pid !== undefined) return { pid: Number(pid), command: (await commandOf(Number(pid))) ?? '?' };
  }
  return undefined;
}

/** @returns the pid where it has; what cannot be read is not there any more, or not ours to see */
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

/** Anybody may give their process any name. */
async function commandOf(pid: number): Promise<string | undefined> {
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => undefined);
  return name?.replace(/\n$/, '').replace(/[^\x20-\x7e]/g, '?');
}
