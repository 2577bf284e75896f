import { constants } from 'node:fs';
import { copyFile, lstat, open, rename, rm, rmdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseState } from '../../core/fleet/record.js';
import type { BaseImage, BaseRecord, Seal } from '../../core/image/base.js';
import { type Freeze, freezeSchema, type MemoryFacts } from '../../core/memory/freeze.js';
import { UnknownStreamError } from '../../core/memory/migration-stream.js';
import { composeSaveHead, type SaveHead } from '../../core/memory/save-file.js';
import { opensReadOnly } from '../../core/memory/sharing.js';
import type { ImportProgress } from '../../core/progress.js';
import type { MemoryFile, MemorySlot, MemoryStore, Sharing } from '../../ports/index.js';
import type { Readers } from '../host/readers.js';
import { withPartial } from '../image/base-intake.js';
import { hashFile } from '../image/image-files.js';
import { isSystemUri } from '../libvirt/connection.js';
import { syncDirectory, writeJson } from './files/atomic-write.js';
import { makeDirectory } from './files/directories.js';
import { allocatedBytes, sealOf, storeError } from './files/files.js';
import { openOwn, readIfThere } from './files/own-files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { baseLayout, fleetLayout, storeLayout } from './layout.js';
import { mergeSave, readHead, splitSave, syncPrivate, syncShared } from './memory-split.js';

/** Saved memory of source VMs, stored beside the base images of their disks. */
export class MemoryDirectory implements MemoryStore {
  readonly #root: string;
  readonly #uri: string;
  readonly #readers: Readers;
  #slots = 0;

  constructor(root: string, uri: string, readers: Readers) {
    this.#root = root;
    this.#uri = uri;
    this.#readers = readers;
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

  async take(base: BaseImage, file: string, sharing: Sharing | undefined, signal?: AbortSignal): Promise<string | undefined> {
    const { directory, memory, ram } = baseLayout(this.#root, base, base.format);
    const doing = `keep ${file}`;
    // Synced before the source VM is resumed. The record of an earlier memory is removed first, so that it never describes
    // other files; no fleet uses it.
    const place = async (parts: { state: string; ram?: string }): Promise<void> => {
      await this.drop(base);
      if (parts.ram !== undefined) await rename(parts.ram, ram);
      await rename(parts.state, memory);
      await syncDirectory(directory);
    };
    return withPartial(this.#root, base.name, doing, async (partial) => {
      const obstacle = sharing === undefined ? undefined : await this.#split(base, file, partial, sharing, place, signal);
      if (sharing !== undefined && obstacle === undefined) return undefined;
      await copyFile(file, partial, constants.COPYFILE_FICLONE);
      await this.read(partial);
      await syncPrivate(partial);
      await place({ state: partial });
      return obstacle;
    });
  }

  /** @returns why it could not be split; nothing was placed then */
  #split(
    base: BaseImage,
    file: string,
    state: string,
    sharing: Sharing,
    place: (parts: { state: string; ram: string }) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const split = async (ram: string): Promise<string | undefined> => {
      try {
        await splitSave(file, { state, ram }, sharing, signal);
      } catch (cause) {
        await rm(state, { force: true });
        if (cause instanceof UnknownStreamError) return `its saved memory has an unknown format: ${cause.message}`;
        throw cause;
      }
      if (!(await syncShared(ram, this.#readers, sharing.isWritable))) {
        await rm(state);
        return 'QEMU runs as another user, and you are not a member of its group';
      }
      await syncPrivate(state);
      await place({ state, ram });
      return undefined;
    };
    return withPartial(this.#root, base.name, `keep ${file}`, split, '.ram');
  }

  async record(base: BaseImage, facts: MemoryFacts, isShared: boolean, signal?: AbortSignal): Promise<BaseImage> {
    const { memory, ram } = baseLayout(this.#root, base, base.format);
    const describe = async (path: string) => {
      const digest = await hashFile(path, undefined, signal);
      const stats = await lstat(path, { bigint: true });
      return { digest, seal: sealOf(stats), bytes: Number(stats.size), allocatedBytes: allocatedBytes(stats) };
    };
    try {
      const warm = { ...facts, ...(await describe(memory)), ...(isShared ? { ram: await describe(ram) } : {}) };
      return await this.#write({ ...base, warm });
    } catch (cause) {
      throw storeError(`record ${memory}`, cause);
    }
  }

  async drop(base: BaseImage): Promise<void> {
    const { memory, ram } = baseLayout(this.#root, base, base.format);
    const { warm, ...cold } = base;
    try {
      if (warm !== undefined) await this.#write(cold);
      for (const path of [memory, ram]) await new SafeUnlinker(storeLayout(this.#root).bases).unlink(path);
    } catch (cause) {
      throw storeError(`remove ${memory}`, cause);
    }
  }

  async reseal(base: BaseImage): Promise<void> {
    const { memory, ram: ramPath } = baseLayout(this.#root, base, base.format);
    const { warm } = base;
    if (warm === undefined) return;
    const sealed = async (path: string) => {
      const stats = await lstat(path, { bigint: true });
      return { seal: sealOf(stats), allocatedBytes: allocatedBytes(stats) };
    };
    try {
      await syncPrivate(memory);
      if (warm.ram !== undefined) await syncShared(ramPath, this.#readers, !opensReadOnly(warm.hypervisor));
      const ram = warm.ram === undefined ? {} : { ram: { ...warm.ram, ...(await sealed(ramPath)) } };
      await this.#write({ ...base, warm: { ...warm, ...(await sealed(memory)), ...ram } });
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

  ramPath(base: Pick<BaseImage, 'name' | 'digest'>): string {
    return baseLayout(this.#root, base, '').ram;
  }

  files({ warm, ...base }: BaseImage): MemoryFile[] {
    if (warm === undefined) return [];
    const { digest, seal, ram } = warm;
    const state = { path: this.path(base), digest, seal };
    return ram === undefined ? [state] : [state, { path: this.ramPath(base), digest: ram.digest, seal: ram.seal }];
  }

  async seal(path: string): Promise<Seal | undefined> {
    const stats = await lstat(path, { bigint: true }).catch(() => undefined);
    return stats?.isFile() ? sealOf(stats) : undefined;
  }

  async digest(path: string, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string> {
    try {
      return await hashFile(path, onProgress, signal);
    } catch (cause) {
      throw storeError(`read ${path}`, cause);
    }
  }

  async openSlot(fleet: string, base: BaseImage, isWhole: boolean): Promise<MemorySlot> {
    const { directory } = fleetLayout(this.#root, fleet);
    const source = this.path(base);
    const path = join(directory, `.cowherd-${process.pid}-memory-${++this.#slots}`);
    const unlinker = new SafeUnlinker(directory);
    await unlinker.unlink(path);
    try {
      if (isWhole && base.warm?.ram !== undefined) await mergeSave({ state: source, ram: this.ramPath(base) }, path);
      else await copyFile(source, path, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
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
