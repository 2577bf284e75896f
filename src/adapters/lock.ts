import { constants } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { CowherdError } from '../core/errors.js';
import { storeError } from './files.js';
import { runTool } from './process.js';

/** What flock exits with where another has the lock. */
const conflict = '75';
/** A look at who holds the lock has a share of it for some milliseconds: that keeps nobody out. */
const lookSeconds = 0.5;

/**
 * A lock that the kernel frees when its holder dies: flock(1) takes it on a descriptor of ours that it inherits, so it belongs
 * to our open file and stays when flock is gone. Children that inherit the descriptor keep it held until they end too: after a
 * kill -9 nobody else starts while a call of ours is still under way.
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
   * @param waitSeconds how long to wait for another holder
   * @param subject what is locked, for the message
   * @throws LOCKED
   */
  static async take(path: string, subject: string, waitSeconds: number, signal?: AbortSignal): Promise<FileLock> {
    for (;;) {
      const lock = await FileLock.#tryTake(path, subject, waitSeconds, signal);
      // The last holder may have removed the file while we waited for it: such a lock keeps nobody out.
      const [ours, theirs] = await Promise.all([lock.#handle.stat(), stat(path).catch(() => undefined)]);
      if (ours.ino === theirs?.ino) return lock;
      await lock.#handle.close();
    }
  }

  static async #tryTake(path: string, subject: string, waitSeconds: number, signal: AbortSignal | undefined): Promise<FileLock> {
    const { O_RDWR, O_CREAT, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants;
    const handle = await open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o644).catch((cause: unknown) => {
      throw storeError(`open the lock ${path}`, cause);
    });
    try {
      const stats = await handle.stat();
      // It is written to: with another name it may be somebody else's file.
      if (!stats.isFile() || stats.nlink > 1) {
        throw new CowherdError('STORE_FAILED', `The lock ${path} is not a file of its own`, {
          hint: 'It has another name as well, or is no file. Look at it; when no cowherd runs, remove it.',
        });
      }
      const wait = String(Math.max(waitSeconds, lookSeconds));
      const { exitCode } = await runTool('flock', ['--exclusive', '--conflict-exit-code', conflict, '--wait', wait, '3'], {
        acceptedExitCodes: [0, Number(conflict)],
        timeoutMs: (waitSeconds + 30) * 1000,
        inherit: [handle.fd],
        signal,
      });
      if (exitCode === Number(conflict)) {
        // Gone meanwhile, where the holder has just left.
        const holder = (await readFile(path, 'utf8').catch(() => '')).trim();
        throw new CowherdError('LOCKED', `${subject} is locked by another run${holder === '' ? '' : ` (${holder})`}`, {
          hint: 'Wait until it is done. The lock goes away by itself when that process ends.',
        });
      }
      // For people alone: where the disk is full, the verbs that free some are needed most.
      await handle
        .truncate(0)
        .then(() => handle.write(`pid ${process.pid}\n`, 0))
        .catch(() => undefined);
      return new FileLock(handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Closes our side only: children that inherited the descriptor keep the lock, as they would if we were killed. */
  async abandon(): Promise<void> {
    await this.#handle.close();
  }

  async release(): Promise<void> {
    await this.#handle.truncate(0).catch(() => undefined);
    // Not by closing alone: children may still hold the same open file.
    await runTool('flock', ['--unlock', '3'], { inherit: [this.#handle.fd] });
    await this.#handle.close();
  }
}

/**
 * The process that says in the file that it holds the lock, as long as the lock is held: by it, or by a call that it had under way. A
 * process of that number may be another one by now, so that its being alive says nothing.
 */
export async function lockHolder(path: string): Promise<number | undefined> {
  const pid = Number(/^pid (\d+)$/m.exec(await readFile(path, 'utf8').catch(() => ''))?.[1]);
  return Number.isInteger(pid) && (await isHeld(path)) ? pid : undefined;
}

/** Tries for a share of the lock, which two that look can have at once. */
async function isHeld(path: string): Promise<boolean> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => undefined);
  // Gone meanwhile: its holder has left.
  if (handle === undefined) return false;
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
