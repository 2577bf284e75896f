import { type BigIntStats, constants } from 'node:fs';
import { copyFile, lstat, open, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type BaseImage, type BaseRecord, baseRecordSchema, parseBaseRef, type Seal, sealDifferences } from '../core/base.js';
import { CowherdError } from '../core/errors.js';
import { type BaseRef, parseState } from '../core/fleet.js';
import { baseNameFromFile, namePattern, verifyName } from '../core/names.js';
import { imageFormat, parseQcow2Header, verifyImportable } from '../core/qcow2-header.js';
import type { BaseStore, ImageTool, ImportProgress, ImportRequest, ImportResult } from '../ports.js';
import { allocatedBytes, isMissing, listDirectory, makeDirectory, Shears, storeError, writeJson } from './files.js';
import { hashAndCopy, hashFile, readHead, seal } from './image-files.js';
import { baseLayout, storeLayout } from './layout.js';
import { FileLock } from './lock.js';

const lockWaitSeconds = 600;

export class BaseDirectory implements BaseStore {
  readonly #root: string;
  readonly #images: ImageTool;

  constructor(root: string, images: ImageTool) {
    this.#root = root;
    this.#images = images;
  }

  async list(): Promise<{ bases: BaseImage[]; damaged: Array<{ path: string; reason: string }> }> {
    const { bases: directory } = storeLayout(this.#root);
    const bases: BaseImage[] = [];
    const damaged: Array<{ path: string; reason: string }> = [];
    for (const name of (await listDirectory(directory)).filter((entry) => namePattern.test(entry)).sort()) {
      for (const file of (await listDirectory(join(directory, name))).filter((entry) => entry.endsWith('.json'))) {
        const path = join(directory, name, file);
        try {
          const record: BaseRecord = parseState(baseRecordSchema, name, file, await readFile(path, 'utf8'), `Import the image again.`);
          bases.push({ ...record, path: baseLayout(this.#root, record, record.format).image, backing: [] });
        } catch (error) {
          damaged.push({ path, reason: error instanceof Error ? error.message : String(error) });
        }
      }
    }
    return { bases, damaged };
  }

  async find(ref: string): Promise<BaseImage> {
    const { bases, damaged } = await this.list();
    const { name, digest } = parseBaseRef(ref);
    const found = bases
      .filter((base) => (name === undefined || base.name === name) && base.digest.startsWith(digest))
      .sort((a, b) => b.importedAt.localeCompare(a.importedAt));
    const contents = new Set(found.map((base) => base.digest));
    if (digest !== '' && contents.size > 1) {
      throw new CowherdError('BAD_USAGE', `${ref} means ${contents.size} base images`, { hint: 'Write more digits of the digest.' });
    }
    const newest = found[0];
    if (newest !== undefined) return newest;
    const names = [...new Set(bases.map((base) => base.name))];
    throw new CowherdError('BASE_NOT_FOUND', `There is no base image ${JSON.stringify(ref)} in the store`, {
      details: damaged.map(({ path, reason }) => `${path}: ${reason}`),
      hint:
        names.length === 0
          ? 'The store has none yet. A file is named with its ending or a path: golden.qcow2, ./golden.'
          : `The store has ${names.slice(0, 8).join(', ')}. A file is named with its ending or a path: ./golden`,
    });
  }

  async get(ref: BaseRef): Promise<BaseImage | undefined> {
    // Not by listing: one damaged or foreign record must not stand in the way of this one.
    for (const format of ['qcow2', 'raw'] as const) {
      const { image, record: path } = baseLayout(this.#root, ref, format);
      const text = await readFile(path, 'utf8').catch(() => undefined);
      if (text === undefined) continue;
      const record = parseState(baseRecordSchema, ref.name, basename(path), text, 'Import the image again.');
      if (record.format === format && record.digest === ref.digest) return { ...record, path: image, backing: [] };
    }
    return undefined;
  }

  async seal(base: BaseImage): Promise<Seal | undefined> {
    const stats = await lstat(base.path, { bigint: true }).catch(() => undefined);
    return stats?.isFile() ? sealOf(stats) : undefined;
  }

  async digest(base: BaseImage, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string> {
    const handle = await open(base.path, 'r').catch((cause: unknown) => {
      throw storeError(`read ${base.path}`, cause);
    });
    try {
      return await hashAndCopy(handle, undefined, onProgress, signal);
    } finally {
      await handle.close();
    }
  }

  async remove(base: BaseImage): Promise<void> {
    const { directory, image, record } = baseLayout(this.#root, base, base.format);
    const shears = new Shears(storeLayout(this.#root).bases);
    // The record first: an image without a record is imported again, a record without its image would be an error.
    await shears.unlink(record);
    await shears.unlink(image);
    await rmdir(directory).catch(() => undefined);
  }

  async locked<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { bases, basesLock } = storeLayout(this.#root);
    await makeDirectory(bases);
    const lock = await FileLock.take(basesLock, "The store's base images", lockWaitSeconds, signal);
    try {
      return await work();
    } finally {
      await lock.release();
    }
  }

  async import(request: ImportRequest): Promise<ImportResult> {
    const path = resolve(request.path);
    const { stats, fingerprint } = await this.#identify(path);
    const name = request.name ?? baseNameFromFile(basename(path));
    if (name === undefined) {
      throw new CowherdError('BAD_USAGE', `No base name can be made of the file name ${basename(path)}`, { hint: 'Rename the file.' });
    }
    verifyName('base', name);

    const known = (await this.list()).bases.find((base) => base.source.fingerprint === fingerprint && base.name === name);
    if (known !== undefined && (await this.#isIntact(known))) return { base: known, how: 'already there' };

    const { format, warning } = await this.#inspect(path, request);
    return this.#bringIn({ path, name, format, stats, fingerprint, request, warning });
  }

  async #isIntact(base: BaseImage): Promise<boolean> {
    return sealDifferences(base.seal, await this.seal(base)).length === 0;
  }

  async #identify(path: string): Promise<{ stats: BigIntStats; fingerprint: string }> {
    try {
      const stats = await stat(path, { bigint: true });
      if (!stats.isFile())
        throw new CowherdError('BASE_REFUSED', `${path} is not a file`, { hint: 'A base image is a qcow2 or raw file.' });
      if (stats.size === 0n) throw new CowherdError('BASE_REFUSED', `${path} is empty`, { hint: 'A base image needs a disk to share.' });
      // With ctime, which no user can set: the same words mean the same bytes.
      return { stats, fingerprint: [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(':') };
    } catch (cause) {
      if (isMissing(cause)) throw new CowherdError('FILE_NOT_FOUND', `There is no file ${path}`, { hint: 'Check the path.', cause });
      throw storeError(`read ${path}`, cause);
    }
  }

  /** All that can be known without copying. @throws BASE_REFUSED */
  async #inspect(path: string, request: ImportRequest): Promise<{ format: 'qcow2' | 'raw'; warning: string | undefined }> {
    const head = await readHead(path);
    const format = imageFormat(path, head, request.format);
    if (format === 'raw') {
      // So that a writer that has it open is found.
      await this.#images.info(path, 'raw');
      return { format, warning: undefined };
    }
    // Before any tool opens it: opening follows the names in the header.
    verifyImportable(path, parseQcow2Header(path, head), request.trustChain);
    await this.#images.info(path, 'qcow2');
    return { format, warning: await this.#images.check(path, request.signal) };
  }

  async #bringIn(source: {
    path: string;
    name: string;
    format: 'qcow2' | 'raw';
    stats: BigIntStats;
    fingerprint: string;
    request: ImportRequest;
    warning: string | undefined;
  }): Promise<ImportResult> {
    const { path, name, format, fingerprint, request, warning } = source;
    const directory = join(storeLayout(this.#root).bases, name);
    await makeDirectory(directory);
    const shears = new Shears(directory);
    // Nobody else imports while we hold the lock: any other partial file is what a crash left.
    for (const stale of await listDirectory(directory)) if (stale.endsWith('.partial')) await shears.unlink(join(directory, stale));
    const partial = join(directory, `.import-${process.pid}.partial`);
    try {
      const { how, digest } = await this.#copy(source, partial);
      if ((await this.#identify(path)).fingerprint !== fingerprint) {
        throw new CowherdError('BASE_REFUSED', `${path} changed while it was imported`, {
          hint: 'Shut down what writes to it, then try again.',
        });
      }
      const existing = await this.get({ name, digest });
      const { virtualBytes } = await this.#images.info(partial, format);
      if (existing !== undefined && (await this.#isIntact(existing))) {
        await rm(partial);
        // Remember this source too, so that the next time is instant.
        await writeJson(baseLayout(this.#root, existing, existing.format).record, recordOf(existing, { path, fingerprint }));
        return { base: existing, how: 'already there' };
      }
      // Otherwise it goes in, also in place of one that was touched: its content is what the overlays there were made on.
      if (virtualBytes === 0)
        throw new CowherdError('BASE_REFUSED', `${path} is a disk of zero bytes`, { hint: 'A base image needs a disk to share.' });
      const layout = baseLayout(this.#root, { name, digest }, format);
      await seal(partial);
      await rename(partial, layout.image);
      const stats = await lstat(layout.image, { bigint: true });
      const record: BaseRecord = {
        version: 1,
        name,
        digest,
        format,
        virtualBytes,
        importedAt: new Date().toISOString(),
        source: { path, fingerprint },
        seal: sealOf(stats),
        allocatedBytes: allocatedBytes(stats),
      };
      await writeJson(layout.record, record);
      return { base: { ...record, path: layout.image, backing: [] }, how, ...(warning === undefined ? {} : { warning }) };
    } catch (cause) {
      await rm(partial, { force: true });
      await rmdir(directory).catch(() => undefined);
      throw storeError(`import ${request.path}`, cause);
    }
  }

  async #copy(
    { path, format, stats, request }: { path: string; format: 'qcow2' | 'raw'; stats: BigIntStats; request: ImportRequest },
    partial: string,
  ): Promise<{ how: ImportResult['how']; digest: string }> {
    const { onProgress, signal, trustChain } = request;
    if (trustChain && format === 'qcow2' && hasChain(parseQcow2Header(path, await readHead(path)))) {
      const totalBytes = Number(stats.size);
      await this.#images.flatten(path, partial, (percent) => onProgress?.({ doneBytes: (totalBytes * percent) / 100, totalBytes }), signal);
      return { how: 'flattened', digest: await hashFile(partial, undefined, signal) };
    }
    const reflinked = await copyFile(path, partial, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL).then(
      () => true,
      () => false,
    );
    if (reflinked) return { how: 'reflinked', digest: await hashFile(partial, onProgress, signal) };
    await rm(partial, { force: true });
    const [from, to] = [await open(path, 'r'), await open(partial, 'wx', 0o600)];
    try {
      return { how: 'copied', digest: await hashAndCopy(from, to, onProgress, signal) };
    } finally {
      await Promise.all([from.close(), to.close()]);
    }
  }
}

function hasChain(header: { hasBackingFile: boolean; externalDataFile: boolean }): boolean {
  return header.hasBackingFile || header.externalDataFile;
}

function recordOf({ path: _path, backing: _backing, ...record }: BaseImage, source: BaseRecord['source']): BaseRecord {
  return { ...record, source };
}

function sealOf(stats: BigIntStats): Seal {
  return { size: Number(stats.size), mtimeNs: String(stats.mtimeNs), inode: String(stats.ino) };
}
