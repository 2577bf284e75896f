import { lstat } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import type { BaseRef } from '../../core/fleet/record.js';
import type { BaseImage, BaseLayer, Seal } from '../../core/image/base.js';
import { layersOf, resolveBacking } from '../../core/image/base-chain.js';
import { chooseDefaults, givenDefaults } from '../../core/image/image-defaults.js';
import { describeHolder } from '../../core/lock.js';
import { assertName } from '../../core/names.js';
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
import { contentsOf } from './base-contents.js';
import { exportImage } from './base-export.js';
import { type IntakeContext, identifySource, importSource, pulledFrom } from './base-import.js';
import { publish, sweepBases, unpublish, withPartial } from './base-intake.js';
import { previewImport } from './base-preview.js';
import { hashAndCopy, hashFile, makeImage, seal } from './image-files.js';
import { assertUnchanged, identify } from './image-source.js';

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
    const source = await identifySource(this.#catalog, request);
    if (source.known !== undefined) return { base: await this.#remember(source.known, request), how: 'already there' };
    return importSource(this.#intake, source);
  }

  async preview(request: ImportRequest): Promise<ImportPreview> {
    const { known, ...source } = await identifySource(this.#catalog, request);
    return known === undefined ? previewImport(this.#intake, source) : { base: known, how: 'already there', isDigestKnown: true };
  }

  get #intake(): IntakeContext {
    return { root: this.#root, images: this.#images, readers: this.#readers, catalog: this.#catalog };
  }

  /** Records what a repeated download says about an image that is already there. */
  async #remember(base: BaseImage, request: ImportRequest): Promise<BaseImage> {
    if (request.download === undefined && request.pulled === undefined) return base;
    const defaults = request.defaults === undefined ? {} : { defaults: chooseDefaults(base.contents ?? {}, request.defaults) };
    const current = { ...base, ...pulledFrom(request, base.pulled?.unpacked ?? []), ...defaults };
    await writeJson(baseLayout(this.#root, base, base.format).record, recordOf(current, base.source));
    return current;
  }

  async promote({ overlay, base, name, layered, promotedFrom, prepared, onProgress, signal }: PromotionRequest): Promise<ImportResult> {
    assertName('base', name);
    const { stats, fingerprint } = await identify(overlay);
    const parent = layered ? { name: base.name, digest: base.digest } : undefined;
    const isSame = (known: BaseImage): boolean =>
      known.source.fingerprint === fingerprint && known.name === name && known.parent?.digest === parent?.digest;
    const known = (await this.list()).bases.find(isSame);
    if (known !== undefined && (await this.#catalog.isIntact(known))) return this.#alreadyThere(known, prepared);

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
      if (existing !== undefined) return this.#alreadyThere(existing, prepared);
      const backing = layered ? layersOf(base) : [];
      const found = await contentsOf({ path: partial, format: 'qcow2', backing }, givenDefaults(base));
      const recipe = prepared === undefined ? {} : { prepared };
      const origin = { ...(parent === undefined ? {} : { parent }), promotedFrom, ...found, ...recipe };
      const { base: lone, warning } = await publish(this.#root, partial, { ...facts, ...origin }, this.#readers);
      const layers = await resolveBacking(lone, (ref) => this.#catalog.getLone(ref));
      return { base: { ...lone, backing: layers }, how: layered ? 'layered' : 'flattened', ...(warning === undefined ? {} : { warning }) };
    });
  }

  /** The image is found by the recipe that led to it last. */
  async #alreadyThere(existing: BaseImage, prepared: PromotionRequest['prepared']): Promise<ImportResult> {
    if (prepared === undefined) return { base: existing, how: 'already there' };
    const base = { ...existing, prepared };
    await writeJson(baseLayout(this.#root, base, base.format).record, recordOf(base, base.source));
    return { base, how: 'already there' };
  }

  export(request: ExportRequest): Promise<number> {
    return exportImage(this.#root, this.#images, request);
  }
}
