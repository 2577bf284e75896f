import { constants } from 'node:fs';
import { copyFile, type FileHandle, lstat, open, rename, rmdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { baseRefSchema, parseState } from '../../core/fleet/record.js';
import { type BaseImage, type BaseRecord, type Seal, warmMemorySchema } from '../../core/image/base.js';
import { composeSaveHead, parseSaveHead, parseSaveHeader, type SaveHead, saveHeaderBytes } from '../../core/image/save-file.js';
import type { ImportProgress } from '../../core/progress.js';
import { diskSpecSchema } from '../../core/spec/spec.js';
import type { Freeze, MemoryFacts, MemorySlot, MemoryStore } from '../../ports/index.js';
import { withPartial } from '../image/base-intake.js';
import { hashAndCopy, hashFile } from '../image/image-files.js';
import { isSystemUri } from '../libvirt/connection.js';
import { syncDirectory, writeJson } from './files/atomic-write.js';
import { makeDirectory } from './files/directories.js';
import { allocatedBytes, sealOf, storeError } from './files/files.js';
import { openOwn, readIfThere } from './files/own-files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { baseLayout, fleetLayout, storeLayout } from './layout.js';

const freezeSchema = z.strictObject({
  version: z.literal(1),
  domain: z.string(),
  uuid: z.uuid(),
  startedAt: z.iso.datetime(),
  count: z.number().int().positive(),
  keepFrozen: z.boolean(),
  start: z.boolean(),
  wait: z.string().optional(),
  timeoutMs: z.number().positive().optional(),
  concurrency: z.number().int().positive().optional(),
  bootConcurrency: z.number().int().positive().optional(),
  addresses: z.array(z.string()),
  hostKeyTypes: z.array(z.string()),
  memoryMiB: z.number().int().positive(),
  taken: z
    .strictObject({
      base: baseRefSchema,
      disks: z.array(diskSpecSchema),
      imported: z.array(baseRefSchema),
      facts: warmMemorySchema.omit({ digest: true, seal: true, bytes: true, allocatedBytes: true }),
    })
    .optional(),
});

/** Saved memory of source VMs, stored beside the base images of their disks. */
export class MemoryDirectory implements MemoryStore {
  readonly #root: string;
  readonly #uri: string;
  #slots = 0;

  constructor(root: string, uri: string) {
    this.#root = root;
    this.#uri = uri;
  }

  managedSave(domain: string): string {
    const state = isSystemUri(this.#uri) ? '/var/lib/libvirt' : join(process.env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'libvirt');
    return join(state, 'qemu', 'save', `${domain}.save`);
  }

  async read(path: string): Promise<SaveHead> {
    const handle = await openOwn(path).catch((cause: unknown) => {
      throw storeError(`read ${path}`, cause);
    });
    try {
      return await readHead(path, handle);
    } finally {
      await handle.close();
    }
  }

  async take(base: BaseImage, file: string): Promise<void> {
    const { directory, memory } = baseLayout(this.#root, base, base.format);
    await withPartial(this.#root, base.name, `keep ${file}`, async (partial) => {
      await copyFile(file, partial, constants.COPYFILE_FICLONE);
      // Synced before the source VM is resumed.
      await this.read(partial);
      await syncReadOnly(partial);
      // Replaces an earlier file that no fleet uses. The record is removed first, so that it never describes another file.
      if (base.warm !== undefined) await this.drop(base);
      await rename(partial, memory);
      await syncDirectory(directory);
    });
  }

  async record(base: BaseImage, facts: MemoryFacts, signal?: AbortSignal): Promise<BaseImage> {
    const { memory } = baseLayout(this.#root, base, base.format);
    try {
      const digest = await hashFile(memory, undefined, signal);
      const stats = await lstat(memory, { bigint: true });
      const warm = { ...facts, digest, seal: sealOf(stats), bytes: Number(stats.size), allocatedBytes: allocatedBytes(stats) };
      return await this.#write({ ...base, warm });
    } catch (cause) {
      throw storeError(`record ${memory}`, cause);
    }
  }

  async drop(base: BaseImage): Promise<void> {
    const { memory } = baseLayout(this.#root, base, base.format);
    const { warm, ...cold } = base;
    try {
      if (warm !== undefined) await this.#write(cold);
      await new SafeUnlinker(storeLayout(this.#root).bases).unlink(memory);
    } catch (cause) {
      throw storeError(`remove ${memory}`, cause);
    }
  }

  async reseal(base: BaseImage): Promise<void> {
    const { memory } = baseLayout(this.#root, base, base.format);
    if (base.warm === undefined) return;
    try {
      await syncReadOnly(memory);
      const stats = await lstat(memory, { bigint: true });
      await this.#write({ ...base, warm: { ...base.warm, seal: sealOf(stats), allocatedBytes: allocatedBytes(stats) } });
    } catch (cause) {
      throw storeError(`seal ${memory}`, cause);
    }
  }

  async #write(base: BaseImage): Promise<BaseImage> {
    const { path: _path, backing: _backing, ...record } = base;
    const written: BaseRecord = record;
    await writeJson(baseLayout(this.#root, base, base.format).record, written);
    return base;
  }

  path(base: Pick<BaseImage, 'name' | 'digest'>): string {
    return baseLayout(this.#root, base, '').memory;
  }

  async seal(base: Pick<BaseImage, 'name' | 'digest'>): Promise<Seal | undefined> {
    const stats = await lstat(this.path(base), { bigint: true }).catch(() => undefined);
    return stats?.isFile() ? sealOf(stats) : undefined;
  }

  async digest(base: BaseImage, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string> {
    const path = this.path(base);
    const handle = await openOwn(path).catch((cause: unknown) => {
      throw storeError(`read ${path}`, cause);
    });
    try {
      return await hashAndCopy(handle, undefined, onProgress, signal);
    } catch (cause) {
      throw storeError(`read ${path}`, cause);
    } finally {
      await handle.close();
    }
  }

  async openSlot(fleet: string, base: BaseImage): Promise<MemorySlot> {
    const { directory } = fleetLayout(this.#root, fleet);
    const source = this.path(base);
    const path = join(directory, `.cowherd-${process.pid}-memory-${++this.#slots}`);
    const unlinker = new SafeUnlinker(directory);
    await unlinker.unlink(path);
    try {
      await copyFile(source, path, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
      const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      await handle.chmod(0o600).finally(() => handle.close());
      const head = await this.read(path);
      return { path, become: (xml) => writeHead(path, composeSaveHead(head, xml)), discard: () => unlinker.unlink(path) };
    } catch (cause) {
      await unlinker.unlink(path).catch(() => undefined);
      throw storeError(`copy ${source} to ${path}`, cause);
    }
  }

  async readFreeze(fleet: string): Promise<Freeze | undefined> {
    const text = await readIfThere(fleetLayout(this.#root, fleet).freeze);
    if (text === undefined) return undefined;
    return parseState(freezeSchema, fleet, 'freeze.json', text, 'See which domain it names, start that domain, and remove this file.');
  }

  async beginFreeze(fleet: string, freeze: Freeze): Promise<void> {
    const { directory, freeze: path } = fleetLayout(this.#root, fleet);
    try {
      await makeDirectory(directory);
      await writeJson(path, freeze);
    } catch (cause) {
      throw storeError(`write ${path}`, cause);
    }
  }

  async endFreeze(fleet: string): Promise<void> {
    const { directory, freeze } = fleetLayout(this.#root, fleet);
    await new SafeUnlinker(directory).unlink(freeze);
    // If the freeze failed.
    await rmdir(directory).catch(() => undefined);
  }
}

/** libvirt reads it as root or as this user. No other user may, since it contains everything that the source VM knew. */
async function syncReadOnly(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await handle.sync();
    await handle.chmod(0o400);
  } finally {
    await handle.close();
  }
}

async function readHead(path: string, handle: FileHandle): Promise<SaveHead> {
  const { size } = await handle.stat();
  const first = await handle.read(Buffer.alloc(saveHeaderBytes), 0, saveHeaderBytes, 0);
  const { streamOffset } = parseSaveHeader(path, first.buffer.subarray(0, first.bytesRead), size);
  const whole = await handle.read(Buffer.alloc(streamOffset), 0, streamOffset, 0);
  return parseSaveHead(path, whole.buffer.subarray(0, whole.bytesRead), size);
}

async function writeHead(path: string, head: Buffer): Promise<void> {
  try {
    const handle = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      // Writing to a reflink copy needs new blocks, which may fail on a full disk.
      for (let at = 0; at < head.length; ) at += (await handle.write(head, at, head.length - at, at)).bytesWritten;
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw storeError(`write ${path}`, cause);
  }
}
