import type { BigIntStats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { basename, dirname, relative, resolve } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import type { BaseRef } from '../../core/fleet/record.js';
import type { BaseImage, BaseLayer, Seal } from '../../core/image/base.js';
import { layersOf, resolveBacking } from '../../core/image/base-chain.js';
import { assertNoUrl } from '../../core/image/content.js';
import { describeHolder } from '../../core/lock.js';
import { assertName, importName } from '../../core/names.js';
import type { ImportProgress } from '../../core/progress.js';
import type {
  BaseLockOptions,
  BaseStore,
  ExportRequest,
  ImportPreview,
  ImportRequest,
  ImportResult,
  PromotionRequest,
} from '../../ports/bases.js';
import type { ImageTool } from '../../ports/images.js';
import { Readers } from '../host/readers.js';
import { writeJson } from '../store/files/atomic-write.js';
import { makeDirectory } from '../store/files/directories.js';
import { allocatedBytes, sealOf, storeError } from '../store/files/files.js';
import { openOwn } from '../store/files/own-files.js';
import { baseLayout, storeLayout } from '../store/layout.js';
import { FileLock, type LockPolicy } from '../store/lock.js';
import { BaseCatalog, recordOf } from './base-catalog.js';
import { exportImage } from './base-export.js';
import { publish, sweepBases, unpublish, withPartial } from './base-intake.js';
import { previewImport } from './base-preview.js';
import { hashAndCopy, hashFile, makeImage, seal } from './image-files.js';
import { assertUnchanged, copyInto, identify, inspect } from './image-source.js';

/** An import by another run may take that long. */
const lockWaitSeconds = 600;
/** For other programs, which may never release the lock. */
const strangerWaitSeconds = 5;

export class BaseDirectory implements BaseStore {
  readonly #root: string;
  readonly #images: ImageTool;
  readonly #readers: Readers;
  readonly #locking: LockPolicy;
  readonly #catalog: BaseCatalog;

  constructor(root: string, images: ImageTool, readers = new Readers(), locking: LockPolicy = {}) {
    this.#root = root;
    this.#images = images;
    this.#readers = readers;
    this.#locking = locking;
    this.#catalog = new BaseCatalog(root);
  }

  list(): ReturnType<BaseStore['list']> {
    return this.#catalog.list();
  }

  find(ref: string): Promise<BaseImage> {
    return this.#catalog.find(ref);
  }

  get(ref: BaseRef): Promise<BaseImage | undefined> {
    return this.#catalog.get(ref);
  }

  seal(base: BaseLayer): Promise<Seal | undefined> {
    return this.#catalog.seal(base);
  }

  async reseal(base: BaseImage): Promise<void> {
    const { record } = baseLayout(this.#root, base, base.format);
    try {
      await seal(base.path, this.#readers);
      const stats = await lstat(base.path, { bigint: true });
      await writeJson(record, { ...recordOf(base, base.source), seal: sealOf(stats), allocatedBytes: allocatedBytes(stats) });
    } catch (cause) {
      throw storeError(`seal ${base.path}`, cause);
    }
  }

  async isWritable(path: string): Promise<boolean> {
    return ((await lstat(path)).mode & 0o222) !== 0;
  }

  async digest(base: BaseLayer, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string> {
    const handle = await openOwn(base.path).catch((cause: unknown) => {
      throw storeError(`read ${base.path}`, cause);
    });
    try {
      return await hashAndCopy(handle, undefined, onProgress, signal);
    } catch (cause) {
      throw storeError(`read ${base.path}`, cause);
    } finally {
      await handle.close();
    }
  }

  async remove(base: BaseImage): Promise<void> {
    await unpublish(this.#root, base, base.format).catch((cause: unknown) => {
      throw storeError(`remove ${base.path}`, cause);
    });
  }

  async sweep(): Promise<void> {
    await sweepBases(this.#root);
  }

  async locked<T>(
    work: () => Promise<T>,
    { signal, onProgress, waitSeconds = this.#locking.waitSeconds ?? lockWaitSeconds, keepLeftovers = false }: BaseLockOptions = {},
  ): Promise<T> {
    const { bases, basesLock } = storeLayout(this.#root);
    await makeDirectory(bases);
    const lock = await FileLock.take(basesLock, 'The directory of base images', {
      waitSeconds,
      strangerSeconds: this.#locking.waitSeconds ?? strangerWaitSeconds,
      signal,
      verb: this.#locking.verb,
      onWait: (holder) =>
        onProgress?.({ kind: 'note', text: `Waiting for the lock on the base images, held by ${describeHolder(holder)}.` }),
    });
    try {
      if (!keepLeftovers) await this.sweep();
      return await work();
    } finally {
      await lock.release();
    }
  }

  async import(request: ImportRequest): Promise<ImportResult> {
    const { path, name, stats, fingerprint, known } = await this.#source(request);
    if (known !== undefined) return { base: known, how: 'already there' };
    const { format, warning } = await inspect(this.#images, path, stats, request);
    return this.#bringIn({ path, name, format, stats, fingerprint, request, warning });
  }

  async preview(request: ImportRequest): Promise<ImportPreview> {
    const { path, name, known } = await this.#source(request);
    if (known !== undefined) return { base: known, how: 'already there', isDigestKnown: true };
    const context = { root: this.#root, images: this.#images, known: (ref: BaseRef) => this.#catalog.existing(ref) };
    return previewImport(context, { path, name, request });
  }

  /** @returns also the base image that this file was imported as, if neither has changed since */
  async #source(request: ImportRequest): Promise<Awaited<ReturnType<typeof identify>> & { path: string; name: string; known?: BaseImage }> {
    assertNoUrl(request.path);
    const path = resolve(request.path);
    const identity = await identify(path);
    const name = importName(basename(path), request.name);
    const { bases } = await this.list();
    const known = bases.find((base) => base.source.fingerprint === identity.fingerprint && base.name === name);
    return { ...identity, path, name, ...(known !== undefined && (await this.#catalog.isIntact(known)) ? { known } : {}) };
  }

  #bringIn(source: {
    path: string;
    name: string;
    format: 'qcow2' | 'raw';
    stats: BigIntStats;
    fingerprint: string;
    request: ImportRequest;
    warning: string | undefined;
  }): Promise<ImportResult> {
    const { path, name, format, fingerprint, request, warning } = source;
    return withPartial(this.#root, name, `import ${request.path}`, async (partial) => {
      const { how, digest } = await copyInto(this.#images, source, partial);
      await assertUnchanged(path, fingerprint, 'imported');
      const { virtualBytes } = await this.#images.info(partial, format);
      if (virtualBytes === 0)
        throw new CowherdError('BASE_REFUSED', `${path} is an empty disk`, { hint: 'A base image needs a disk that is not empty.' });
      const facts = { name, digest, format, virtualBytes, source: { path, fingerprint } };
      const existing = await this.#catalog.existing(facts);
      if (existing !== undefined) {
        // Record this source too, so that the next import need not read it.
        await writeJson(baseLayout(this.#root, existing, existing.format).record, recordOf(existing, facts.source));
        return { base: existing, how: 'already there' };
      }
      // Also replaces an image that was changed: the overlays there were created on this content.
      const { base, warning: exposed } = await publish(
        this.#root,
        partial,
        { ...facts, ...(await this.#catalog.originOf(facts)) },
        this.#readers,
      );
      const warnings = [warning, exposed].filter((one) => one !== undefined).join('; ');
      return { base: { ...base, backing: [] }, how, ...(warnings === '' ? {} : { warning: warnings }) };
    });
  }

  async promote({ overlay, base, name, layered, promotedFrom, onProgress, signal }: PromotionRequest): Promise<ImportResult> {
    assertName('base', name);
    const { stats, fingerprint } = await identify(overlay);
    const parent = layered ? { name: base.name, digest: base.digest } : undefined;
    const isSame = (known: BaseImage): boolean =>
      known.source.fingerprint === fingerprint && known.name === name && known.parent?.digest === parent?.digest;
    const known = (await this.list()).bases.find(isSame);
    if (known !== undefined && (await this.#catalog.isIntact(known))) return { base: known, how: 'already there' };

    return withPartial(this.#root, name, `promote ${overlay}`, async (partial) => {
      const totalBytes = Number(stats.blocks) * 512 + (layered ? 0 : layersOf(base).reduce((sum, layer) => sum + layer.allocatedBytes, 0));
      // qemu-img would create it world-readable.
      await makeImage(partial);
      await this.#images.convert({
        source: { path: overlay, format: 'qcow2' },
        target: { path: partial, format: 'qcow2' },
        backing: layered ? base : undefined,
        onProgress: (percent) => onProgress?.({ doneBytes: (totalBytes * percent) / 100, totalBytes }),
        signal,
      });
      await assertUnchanged(overlay, fingerprint, 'copied');
      // Relative, so that the store can be moved: a base image is never written to later.
      if (layered) await this.#images.repoint(partial, { path: relative(dirname(partial), base.path), format: base.format });
      const { virtualBytes } = await this.#images.info(partial, 'qcow2');
      const digest = await hashFile(partial, undefined, signal);
      const facts = { name, digest, format: 'qcow2' as const, virtualBytes, source: { path: overlay, fingerprint } };
      const existing = await this.#catalog.existing(facts);
      if (existing !== undefined) return { base: existing, how: 'already there' };
      const origin = { ...(parent === undefined ? {} : { parent }), promotedFrom };
      const { base: lone, warning } = await publish(this.#root, partial, { ...facts, ...origin }, this.#readers);
      const backing = await resolveBacking(lone, (ref) => this.#catalog.getLone(ref));
      return { base: { ...lone, backing }, how: layered ? 'layered' : 'flattened', ...(warning === undefined ? {} : { warning }) };
    });
  }

  export(request: ExportRequest): Promise<number> {
    return exportImage(this.#root, this.#images, request);
  }
}
