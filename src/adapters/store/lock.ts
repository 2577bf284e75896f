import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { describeHolder, formatLockNote, type LockHolder, lockHint } from '../../core/lock.js';
import { runTool } from '../process.js';
import { startTicksOf } from '../qemu/processes.js';
import { storeError } from './files/files.js';
import { findHolder, isListed } from './lock-holder.js';

/** flock's exit code if another process has the lock. */
const conflict = '75';
/** Checking for a holder takes a shared lock for some milliseconds, which this waits out. */
const lookSeconds = 0.5;
/** Polling interval for the holder of the lock. */
const roundSeconds = 2;

export interface LockRequest {
  /** How long to wait for another run of cowherd, or for a tool that it started. */
  waitSeconds?: number | undefined;
  /** How long to wait for any other program, which may never release the lock. At most as long as for a run. */
  strangerSeconds?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Aborts a wait. A free lock can still be taken, since cleaning up after an interruption needs locks, too. */
  waitSignal?: AbortSignal | undefined;
  /** What the lock is taken for; shown to other runs. */
  verb?: string | undefined;
  /** Called with the process that holds the lock, and again when that changes. */
  onWait?: ((holder: LockHolder) => void) | undefined;
}

/** Settings for all locks of a run. */
export interface LockPolicy extends Pick<LockRequest, 'verb' | 'waitSignal'> {
  /** How long to wait for a held lock, in seconds; undefined for the default of each lock. */
  waitSeconds?: number | undefined;
  /** Called with a message when a wait begins, and when its reason changes. */
  onWait?: ((text: string) => void) | undefined;
}

/** The request for a lock under a policy. @param subject what is locked, for messages */
export function requestOf({ verb, waitSignal, waitSeconds, onWait }: LockPolicy, subject: string): LockRequest {
  return { verb, waitSignal, waitSeconds, onWait: (holder) => onWait?.(`${subject} is locked by ${describeHolder(holder)}. Waiting.`) };
}

/**
 * A lock that the kernel releases when its holder dies: flock(1) takes it on an inherited descriptor, so it belongs to the open file of
 * this process and stays when flock exits. Children that inherit the descriptor keep it held until they exit, too: after a kill -9, no
 * other run starts while a child is still running.
 */
export class FileLock {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  get descriptor(): number {
    return this.#handle.fd;
  }

  /**
   * @param subject what is locked, for the message
   * @throws LOCKED
   */
  static async take(path: string, subject: string, request: LockRequest = {}): Promise<FileLock> {
    const { waitSeconds = 0, strangerSeconds = waitSeconds, onWait } = request;
    const began = performance.now();
    for (let reported = ''; ; ) {
      const waited = (performance.now() - began) / 1000;
      const signal = request.signal ?? (reported === '' ? undefined : request.waitSignal);
      const round = Math.min(reported === '' ? lookSeconds : roundSeconds, waitSeconds - waited);
      const lock = await FileLock.#tryTake(path, subject, round, { ...request, signal }).catch((error: unknown) => {
        throw reported !== '' && signal?.aborted ? interruptedWait(subject, reported, error) : error;
      });
      if (lock instanceof FileLock) return lock;
      if (lock === 'gone') continue;
      const holder = await findHolder(path);
      const isAwaited = holder.kind === 'run' || holder.kind === 'orphan';
      if ((performance.now() - began) / 1000 >= (isAwaited ? waitSeconds : Math.min(strangerSeconds, waitSeconds))) {
        throw new CowherdError('LOCKED', `${subject} is locked by ${describeHolder(holder)}`, { hint: lockHint(holder, path) });
      }
      if (describeHolder(holder) !== reported) onWait?.(holder);
      reported = describeHolder(holder);
    }
  }

  /** @returns held: by another process. gone: its last holder removed the file during the wait, so the lock has no effect */
  static async #tryTake(
    path: string,
    subject: string,
    waitSeconds: number,
    { signal, verb }: LockRequest,
  ): Promise<FileLock | 'held' | 'gone'> {
    const handle = await openLock(path, subject);
    try {
      const wait = Math.max(waitSeconds, lookSeconds);
      const { exitCode } = await runTool('flock', ['--exclusive', '--conflict-exit-code', conflict, '--wait', String(wait), '3'], {
        acceptedExitCodes: [0, Number(conflict)],
        timeoutMs: (wait + 30) * 1000,
        inherit: [handle.fd],
        signal,
      });
      const [ours, theirs] = await Promise.all([handle.stat(), stat(path).catch(() => undefined)]);
      if (exitCode === Number(conflict) || ours.ino !== theirs?.ino) {
        await handle.close();
        return exitCode === Number(conflict) ? 'held' : 'gone';
      }
      const startTicks = startTicksOf(await readFile('/proc/self/stat', 'utf8').catch(() => ''));
      // Only informational, so a full disk is ignored: commands that free space must work.
      await handle
        .truncate(0)
        .then(() => handle.write(formatLockNote({ pid: process.pid, startTicks, verb, since: new Date().toISOString() })))
        .catch(() => undefined);
      return new FileLock(handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Closes only this process's descriptor: children that inherited it keep the lock, as after a kill. */
  async abandon(): Promise<void> {
    await this.#handle.close();
  }

  async release(): Promise<void> {
    await this.#handle.truncate(0).catch(() => undefined);
    // Closing is not enough: children may still have the same open file.
    await runTool('flock', ['--unlock', '3'], { inherit: [this.#handle.fd] });
    await this.#handle.close();
  }
}

function interruptedWait(subject: string, holder: string, cause: unknown): CowherdError {
  return new CowherdError('INTERRUPTED', `Interrupted while waiting: ${subject} is locked by ${holder}`, {
    hint: 'Run the command again when that process has ended.',
    cause,
  });
}

async function openLock(path: string, subject: string): Promise<FileHandle> {
  const { O_RDWR, O_CREAT, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o600).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EACCES') throw notAllowed(path, subject, cause);
    throw storeError(`open the lock ${path}`, cause);
  });
  try {
    const stats = await handle.stat();
    // It is written to, and a second link may be another user's file.
    if (!stats.isFile() || stats.nlink > 1) {
      throw new CowherdError('STORE_FAILED', `The lock ${path} is not a regular file with one link`, {
        hint: 'It has another hard link, or is not a regular file. Check it; if no cowherd is running, remove it.',
      });
    }
    await restrict(handle, stats, dirname(path));
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Anyone who can open a file can lock it. So a lock file can be opened only by those who may change what it protects: root, the owner of
 * the directory, and the directory's group if it has write permission. Lock files of older stores were world-readable.
 */
async function restrict(handle: FileHandle, stats: Stats, directory: string): Promise<void> {
  const { uid, gid, mode } = await lstat(directory);
  const isShared = (mode & 0o020) !== 0;
  // A lock file that root creates in another user's store must not exclude its owner.
  const owner = process.getuid?.() === 0 ? uid : stats.uid;
  const group = isShared ? gid : stats.gid;
  const isGiven = (owner === stats.uid && group === stats.gid) || (await ifAllowed(handle.chown(owner, group)));
  const wanted = isShared && isGiven ? 0o660 : 0o600;
  // A lock file of another group member is restricted by its owner's next run.
  if ((stats.mode & 0o7777) !== wanted) await ifAllowed(handle.chmod(wanted));
}

/** @returns whether this user was allowed to */
async function ifAllowed(change: Promise<void>): Promise<boolean> {
  try {
    await change;
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EPERM') return false;
    throw storeError('restrict a lock', cause);
  }
}

function notAllowed(path: string, subject: string, cause: Error): CowherdError {
  return new CowherdError('STORE_FAILED', `${subject} cannot be locked: this user may not open ${path}`, {
    hint: `Only the owner of ${dirname(path)}, its group if it has write permission there, and root may change it. Run the command as one of them, or use a store of your own: --store DIR`,
    cause,
  });
}

/** The process that holds the lock; undefined if none does. */
export async function lockHolder(path: string): Promise<LockHolder | undefined> {
  return (await isHeld(path)) ? findHolder(path) : undefined;
}

/** Tries to take a shared lock, which several checks can hold at once. */
async function isHeld(path: string): Promise<boolean> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: NodeJS.ErrnoException) => error,
  );
  // Removed meanwhile by its holder.
  if (handle instanceof Error) return handle.code === 'EACCES' && isListed(path);
  try {
    const { exitCode } = await runTool('flock', ['--shared', '--nonblock', '--conflict-exit-code', conflict, '3'], {
      acceptedExitCodes: [0, Number(conflict)],
      timeoutMs: 30_000,
      inherit: [handle.fd],
    });
    return exitCode === Number(conflict);
  } finally {
    await handle.close();
  }
}
