import { constants } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { CowherdError } from '../core/errors.js';
import { storeError } from './files.js';
import { runTool } from './process.js';

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
      const { exitCode } = await runTool('flock', ['--exclusive', '--conflict-exit-code', '75', '--wait', String(waitSeconds), '3'], {
        acceptedExitCodes: [0, 75],
        timeoutMs: (waitSeconds + 30) * 1000,
        inherit: [handle.fd],
        signal,
      });
      if (exitCode === 75) {
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

/** The process that says in the file that it holds the lock, as far as it lives. Takes no lock itself: nobody is kept out by a look. */
export async function lockHolder(path: string): Promise<number | undefined> {
  const pid = Number(/^pid (\d+)$/m.exec(await readFile(path, 'utf8').catch(() => ''))?.[1]);
  if (!Number.isInteger(pid)) return undefined;
  try {
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    // Somebody else's, and alive.
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? pid : undefined;
  }
}
