import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { entryBytes } from '../../core/image/overlay-format.js';
import {
  clusterParts,
  type InternalSnapshot,
  maxL1Bytes,
  maxTableBytes,
  parseSnapshotTable,
  type SnapshotPlace,
  snapshotPlace,
  tableOffset,
} from '../../core/image/qcow2-snapshots.js';
import { type CheckpointRecord, isLayoutFree, layoutFreePrefix, parseCheckpoint, tagPrefix } from '../../core/snapshot/checkpoint.js';
import type { CheckpointStore, HeldSnapshot } from '../../ports/index.js';
import { writeJson } from './files/atomic-write.js';
import { makeDirectory } from './files/directories.js';
import { isMissing, listDirectory, storeError } from './files/files.js';
import { openOwn, readIfThere } from './files/own-files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { checkpointEnding, fleetLayout } from './layout.js';

/** Bytes to read at a time; hashing them takes some milliseconds. */
const chunkBytes = 2 * 1024 * 1024;
/** Enough for the snapshot tables of several snapshots, about a hundred bytes each. */
const firstTableBytes = 64 * 1024;

export class CheckpointDirectory implements CheckpointStore {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async read(fleet: string, member: string): Promise<CheckpointRecord | undefined> {
    const text = await readIfThere(fleetLayout(this.#root, fleet).checkpoint(member));
    return text === undefined ? undefined : parseCheckpoint(fleet, member, text);
  }

  async list(fleet: string): Promise<Map<string, CheckpointRecord>> {
    const names = (await listDirectory(fleetLayout(this.#root, fleet).checkpoints)).filter(
      (name) => name.endsWith(checkpointEnding) && !name.startsWith('.'),
    );
    const found = new Map<string, CheckpointRecord>();
    for (const name of names) {
      const member = basename(name, checkpointEnding);
      const record = await this.read(fleet, member).catch(() => undefined);
      if (record !== undefined) found.set(member, record);
    }
    return found;
  }

  async write(fleet: string, member: string, record: CheckpointRecord): Promise<void> {
    const { checkpoints, checkpoint } = fleetLayout(this.#root, fleet);
    await makeDirectory(checkpoints);
    await writeJson(checkpoint(member), record).catch((cause: unknown) => {
      throw storeError(`write ${checkpoint(member)}`, cause);
    });
  }

  async forget(fleet: string, member: string): Promise<void> {
    const { directory, checkpoint } = fleetLayout(this.#root, fleet);
    await new SafeUnlinker(directory).unlink(checkpoint(member));
  }

  async snapshots(path: string): Promise<InternalSnapshot[]> {
    return ((await withImage(path, (image) => image.snapshots())) ?? []).filter(({ name }) => name.startsWith(tagPrefix));
  }

  async tags(path: string): Promise<string[]> {
    return (await this.snapshots(path)).map(({ name }) => name);
  }

  async hasLooseState(path: string): Promise<boolean> {
    return (await withImage(path, (image) => image.hasLooseState())) ?? false;
  }

  held(path: string, tag: string, signal?: AbortSignal, like: string = layoutFreePrefix): Promise<HeldSnapshot | undefined> {
    return withImage(path, async (image) => {
      const snapshot = (await image.snapshots()).find(({ name }) => name === tag);
      return snapshot === undefined ? undefined : image.held(snapshot, isLayoutFree(like), signal);
    });
  }
}

/** Reads one of cowherd's qcow2 images, which QEMU may have open: the content of a snapshot is never changed in place. */
class SnapshotImage {
  readonly #handle: FileHandle;
  readonly #place: SnapshotPlace;
  /** Reused for all reads, to avoid garbage collection of gigabytes. */
  #chunk: Buffer | undefined;

  constructor(handle: FileHandle, place: SnapshotPlace) {
    this.#handle = handle;
    this.#place = place;
  }

  async snapshots(): Promise<InternalSnapshot[]> {
    const { snapshots: count, tableOffset: at } = this.#place;
    if (count === 0) return [];
    for (let bytes = firstTableBytes; ; bytes *= 16) {
      const table = await this.#read(at, Math.min(bytes, maxTableBytes), true);
      const found = parseSnapshotTable(table, count);
      if (found !== undefined || table.length < bytes || bytes >= maxTableBytes) return found ?? [];
    }
  }

  async hasLooseState(): Promise<boolean> {
    const { offset, entries, diskEntries } = this.#place.active;
    const l1 = await this.#read(offset, Math.min(entries * 8, maxL1Bytes), true);
    for (let table = diskEntries; (table + 1) * 8 <= l1.length; table++) if (tableOffset(l1, table) !== 0) return true;
    return false;
  }

  /**
   * The digest covers the guest's clusters, each preceded by its position on the guest's disk. In 0.1.0 the positions of clusters that
   * are adjacent in the file preceded all of them.
   * @returns undefined if the file is truncated or damaged
   */
  async held(
    { l1Offset, l1Entries, stateBytes }: InternalSnapshot,
    isFree: boolean,
    signal: AbortSignal | undefined,
  ): Promise<HeldSnapshot | undefined> {
    if (l1Entries * 8 > maxL1Bytes) return undefined;
    const { clusterBits, extendedL2 } = this.#place;
    const clusterBytes = 2 ** clusterBits;
    const perTable = clusterBytes / entryBytes(extendedL2);
    const hash = createHash('sha256').update(`${clusterBits} ${l1Entries} ${stateBytes}\n`);
    try {
      const l1 = await this.#read(l1Offset, l1Entries * 8);
      for (let table = 0; table < l1Entries; table++) {
        if (signal?.aborted === true) throw new CowherdError('INTERRUPTED', 'Interrupted while a checkpoint was read');
        const at = tableOffset(l1, table);
        if (at !== 0) await this.#hashTable(hash, await this.#read(at, clusterBytes), table * perTable, isFree);
      }
    } catch (error) {
      if (error instanceof Damaged) return undefined;
      throw error;
    }
    return { digest: `${isFree ? layoutFreePrefix : ''}${hash.digest('hex')}`, stateBytes };
  }

  async #hashTable(hash: Hash, table: Buffer, firstCluster: number, isFree: boolean): Promise<void> {
    const { clusterBits, extendedL2 } = this.#place;
    // Reads adjacent clusters at once. Reading past subclusters that are not hashed is faster than another call.
    const widestGap = extendedL2 && isFree ? 2 ** clusterBits : 0;
    let run = { offset: 0, bytes: 0 };
    let clusters: HashedCluster[] = [];
    this.#chunk ??= Buffer.allocUnsafe(chunkBytes);
    const chunk = this.#chunk;
    const flush = async (): Promise<void> => {
      if (!isFree) for (const { place } of clusters) hash.update(place ?? '');
      const feed = isFree ? byCluster(hash, clusters) : (data: Buffer) => void hash.update(data);
      for (let done = 0; done < run.bytes; done += chunkBytes)
        feed(await this.#read(run.offset + done, Math.min(chunkBytes, run.bytes - done), false, chunk));
      run = { offset: 0, bytes: 0 };
      clusters = [];
    };
    for (let entry = 0; entry < table.length / entryBytes(extendedL2); entry++) {
      const parts = clusterParts(table, entry, this.#place);
      if (parts === undefined) throw new Damaged();
      for (const { kind, offset, bytes, subclusters } of parts) {
        const gap = offset - (run.offset + run.bytes);
        if (run.bytes === 0 || gap < 0 || gap >= Math.max(1, widestGap) || run.bytes >= chunkBytes) await flush();
        else if (gap > 0) clusters.push({ place: undefined, bytes: gap });
        clusters.push({ place: `${kind} ${firstCluster + entry}${subclusters}\n`, bytes });
        run = run.bytes === 0 ? { offset, bytes } : { offset: run.offset, bytes: run.bytes + gap + bytes };
      }
    }
    await flush();
  }

  async #read(offset: number, bytes: number, mayEnd = false, into?: Buffer): Promise<Buffer> {
    // A damaged image may give any table size.
    const { size } = await this.#handle.stat();
    if (!mayEnd && offset + bytes > size) throw new Damaged();
    const length = Math.max(0, Math.min(bytes, size - offset));
    const buffer = into ?? Buffer.allocUnsafe(length);
    const { bytesRead } = await this.#handle.read(buffer, 0, length, offset);
    if (bytesRead < bytes && !mayEnd) throw new Damaged();
    return buffer.subarray(0, bytesRead);
  }
}

interface HashedCluster {
  /** The hashed position on the guest's disk; undefined for bytes that are not hashed. */
  place: string | undefined;
  bytes: number;
}

/** Hashes clusters, each preceded by its position; for a cluster of zeros, only the position. */
function byCluster(hash: Hash, clusters: readonly HashedCluster[]): (data: Buffer) => void {
  let next = 0;
  let left = 0;
  let isHashed = false;
  const begin = (): void => {
    while (left === 0 && next < clusters.length) {
      const { place, bytes } = clusters[next++] as HashedCluster;
      isHashed = place !== undefined;
      if (place !== undefined) hash.update(place);
      left = bytes;
    }
  };
  begin();
  return (data) => {
    for (let at = 0; at < data.length; begin()) {
      const part = data.subarray(at, at + left);
      if (isHashed) hash.update(part);
      at += part.length;
      left -= part.length;
    }
  };
}

/** Damaged or truncated. */
class Damaged extends Error {}

async function withImage<T>(path: string, work: (image: SnapshotImage) => Promise<T>): Promise<T | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await openOwn(path);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(104), 0, 104, 0);
    const place = snapshotPlace(buffer.subarray(0, bytesRead));
    return place === undefined ? undefined : await work(new SnapshotImage(handle, place));
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw storeError(`read ${path}`, cause);
  } finally {
    await handle?.close();
  }
}
