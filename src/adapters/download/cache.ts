import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { CowherdError } from '../../core/errors.js';
import { shownUrl } from '../../core/image/download/url.js';
import { describeHolder } from '../../core/lock.js';
import { isTemporary, writeJson } from '../store/files/atomic-write.js';
import { makeDirectory } from '../store/files/directories.js';
import { allocatedBytes, listDirectory, storeError } from '../store/files/files.js';
import { assertDirectory, assertOwn, readIfThere } from '../store/files/own-files.js';
import { SafeUnlinker } from '../store/files/safe-unlinker.js';
import { downloadLayout, storeLayout } from '../store/layout.js';
import { FileLock, type LockPolicy, lockHolder } from '../store/lock.js';

/** The files of downloads in the store. */

const field = z.string().max(1024).optional();
const recordSchema = z.strictObject({
  version: z.literal(1),
  url: z.string(),
  etag: field,
  lastModified: field,
  /** Of the complete file. */
  bytes: z.number().int().nonnegative().optional(),
  /** The boot of the host that the part was written in: what was not synced is lost at a power failure. */
  bootId: z.string(),
});
/** Describes the part beside it. */
export type PartRecord = z.output<typeof recordSchema>;

/** The files of a download: its part, its record, its lock, and a record that is being written. */
const keyPattern = /^(?:\.|\.cowherd-[0-9a-f]+-)?([0-9a-f]{16})\.(?:part|json|lock)$/;

/** For other programs, which may never release the lock. */
const strangerWaitSeconds = 5;

export class DownloadCache {
  readonly #root: string;
  readonly #locking: LockPolicy;

  constructor(root: string, locking: LockPolicy) {
    this.#root = root;
    this.#locking = locking;
  }

  get directory(): string {
    return storeLayout(this.#root).downloads;
  }

  /** @throws STORE_FAILED */
  async prepare(): Promise<void> {
    await assertDirectory(this.directory);
    await makeDirectory(this.directory);
  }

  partOf(url: URL): string {
    return this.#files(url).part;
  }

  /** Opens the part, or creates an empty one. A part of another user is replaced. @throws STORE_FAILED */
  async openPart(url: URL): Promise<FileHandle> {
    const { part } = this.#files(url);
    await assertOwn(part);
    const { uid: storeOwner } = await lstat(this.directory);
    const isRoot = process.getuid?.() === 0;
    const isOurs = (uid: number): boolean => uid === process.getuid?.() || (isRoot && uid === storeOwner);
    try {
      const found = await lstat(part).catch(() => undefined);
      if (found !== undefined && !isOurs(found.uid)) await this.#unlink(part);
      const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
      const handle = await open(part, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
      try {
        const stats = await handle.stat();
        // It may have been replaced meanwhile.
        if (!stats.isFile() || stats.nlink !== 1 || !isOurs(stats.uid)) throw new Error('another user replaces it');
        await handle.chmod(0o600);
        // The owner of a store must be able to continue what root began.
        if (stats.uid !== storeOwner && isRoot) await handle.chown(storeOwner, stats.gid);
        return handle;
      } catch (error) {
        await handle.close();
        throw error;
      }
    } catch (cause) {
      throw storeError(`write ${part}`, cause);
    }
  }

  /** @returns undefined if there is none, or it is of another URL or damaged */
  async readRecord(url: URL): Promise<PartRecord | undefined> {
    const text = await readIfThere(this.#files(url).record);
    if (text === undefined || text.length > 64 * 1024) return undefined;
    try {
      const record = recordSchema.safeParse(JSON.parse(text)).data;
      return record?.url === url.href ? record : undefined;
    } catch {
      return undefined;
    }
  }

  async writeRecord(url: URL, facts: Omit<PartRecord, 'version' | 'url'>): Promise<PartRecord> {
    const { record: path } = this.#files(url);
    const record = { version: 1 as const, url: url.href, ...facts };
    await writeJson(path, record, 0o600).catch((cause: unknown) => {
      throw storeError(`write ${path}`, cause);
    });
    return record;
  }

  /** Removes part and record; the lock stays. */
  async remove(url: URL): Promise<void> {
    const { part, record } = this.#files(url);
    for (const path of [part, record]) await this.#unlink(path);
  }

  /** Bytes that this user can still write to the store. */
  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.directory);
    return bavail * bsize;
  }

  /** Waits as long as the other run needs, unless the policy says otherwise: its download is the one that is wanted. @throws LOCKED */
  async locked<T>(
    url: URL,
    work: () => Promise<T>,
    options: { signal?: AbortSignal | undefined; onNote?: (text: string) => void },
  ): Promise<T> {
    await this.prepare();
    const { waitSeconds, verb, waitSignal, onWait } = this.#locking;
    const { lock: path } = this.#files(url);
    const note = options.onNote ?? onWait;
    const lock = await FileLock.take(path, `The download of ${shownUrl(url)}`, {
      ...{ verb, waitSignal, signal: options.signal, waitSeconds: waitSeconds ?? Number.POSITIVE_INFINITY },
      strangerSeconds: waitSeconds ?? strangerWaitSeconds,
      onWait: (holder) => note?.(`Waiting for the download of ${shownUrl(url)}, locked by ${describeHolder(holder)}.`),
    });
    try {
      await this.#sweep(this.#key(url));
      return await work();
    } finally {
      // Every URL has its own; a run that waits for it notices that it is gone.
      await this.#unlink(path).catch(() => undefined);
      await lock.release();
    }
  }

  /** Parts that no run holds: their number and size. */
  async leftovers(remove: boolean): Promise<{ files: number; bytes: number }> {
    await assertDirectory(this.directory);
    const names = await listDirectory(this.directory);
    const keys = new Set(names.map((name) => keyPattern.exec(name)?.[1]).filter((key) => key !== undefined));
    const sum = { files: 0, bytes: 0 };
    for (const key of keys) {
      const { part, lock } = downloadLayout(this.#root, key);
      if ((await lockHolder(lock)) !== undefined) continue;
      const stats = await lstat(part).catch(() => undefined);
      if (remove && !(await this.#clear(key))) continue;
      if (stats !== undefined) {
        sum.files += 1;
        sum.bytes += allocatedBytes(stats);
      }
    }
    return sum;
  }

  /** @returns false if another run has just taken it */
  async #clear(key: string): Promise<boolean> {
    const { part, record, lock: path } = downloadLayout(this.#root, key);
    try {
      const lock = await FileLock.take(path, 'The download', { verb: this.#locking.verb });
      try {
        await this.#sweep(key);
        for (const file of [part, record, path]) await this.#unlink(file);
      } finally {
        await lock.release();
      }
      return true;
    } catch (error) {
      if (error instanceof CowherdError && error.code === 'LOCKED') return false;
      throw error;
    }
  }

  /** Removes what a run left that was killed while it wrote the record. The caller holds the lock. */
  async #sweep(key: string): Promise<void> {
    const isLeft = (name: string): boolean => isTemporary(name) && name.endsWith(`-${key}.json`);
    for (const name of (await listDirectory(this.directory)).filter(isLeft)) await this.#unlink(join(this.directory, name));
  }

  #unlink(path: string): Promise<void> {
    return new SafeUnlinker(this.directory).unlink(path);
  }

  #files(url: URL): ReturnType<typeof downloadLayout> {
    return downloadLayout(this.#root, this.#key(url));
  }

  #key(url: URL): string {
    return createHash('sha256').update(url.href).digest('hex').slice(0, 16);
  }
}

/** Of this host, since its last boot. */
export async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => 'unknown')).trim();
}
