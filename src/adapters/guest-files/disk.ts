import { constants as fileFlags } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { inflateRaw, constants as zlibFlags } from 'node:zlib';
import { headerBytes, parseQcow2Header } from '../../core/image/qcow2-header.js';
import { maxReadBytes, ReadBudget, Recent, UnreadableDisk } from './read-budget.js';

const inflate = promisify(inflateRaw);

/** The disk as the guest sees it. One caller at a time. */
export interface Disk {
  /** Bytes. */
  readonly virtualBytes: number;
  /**
   * @param offset bytes from the start of the disk
   * @param length bytes, at most {@link maxReadBytes}
   * @throws UnreadableDisk outside the disk, for damage, or if the budget is used up
   */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

const l2SliceBytes = 4096;
const l2SlicesKept = 64;
const clustersKept = 4;
const offsetMask = 0x00ff_ffff_ffff_fe00n;
const compressedFlag = 1n << 62n;
// Incompatible features that change nothing for a reader: dirty (refcounts only) and compression type.
const harmlessFeatures = 0b1001n;

/**
 * Opens an image for reading, without a tool and without following file names in it.
 * @param backing the opened disk of the backing file, if any; closed together with this one
 * @throws UnreadableDisk if the image is of an unsupported kind
 * @throws CowherdError BASE_REFUSED if its header is truncated
 */
export async function openDisk(path: string, format: 'qcow2' | 'raw', budget = new ReadBudget(), backing?: Disk): Promise<Disk> {
  // Non-blocking: opening a pipe would wait for a writer.
  const handle = await open(path, fileFlags.O_RDONLY | fileFlags.O_NONBLOCK);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new UnreadableDisk('it is not a file');
    const file = new ImageFile(handle, stats.size, budget);
    return format === 'raw' ? new RawDisk(file) : new Qcow2Disk(file, path, await file.read(0, headerBytes), backing);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

class ImageFile {
  /** @param size bytes */
  constructor(
    readonly handle: FileHandle,
    readonly size: number,
    readonly budget: ReadBudget,
  ) {}

  /**
   * Reads zeros beyond the end, like QEMU: an image may end within its last cluster.
   * @throws UnreadableDisk if the whole range is outside the file
   */
  async read(offset: number, length: number): Promise<Buffer> {
    if (offset >= this.size || length > maxReadBytes) throw new UnreadableDisk('a table points out of the file');
    this.budget.spend(length);
    const bytes = Buffer.alloc(length);
    for (let filled = 0; filled < length; ) {
      const { bytesRead } = await this.handle.read(bytes, filled, length - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes;
  }
}

function assertInside(disk: Disk, offset: number, length: number): void {
  const inside = Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= disk.virtualBytes;
  if (!inside || length > maxReadBytes) throw new UnreadableDisk('a structure points out of the disk');
}

class RawDisk implements Disk {
  constructor(readonly file: ImageFile) {}

  get virtualBytes(): number {
    return this.file.size;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    assertInside(this, offset, length);
    return length === 0 ? Buffer.alloc(0) : this.file.read(offset, length);
  }

  close(): Promise<void> {
    return this.file.handle.close();
  }
}

/** Versions 2 and 3. Source: QEMU docs/interop/qcow2.txt */
class Qcow2Disk implements Disk {
  readonly virtualBytes: number;
  readonly #file: ImageFile;
  readonly #backing: Disk | undefined;
  readonly #version: number;
  readonly #clusterBits: number;
  readonly #clusterBytes: number;
  readonly #l1Size: number;
  readonly #l1TableOffset: number;
  readonly #l2Slices = new Recent<number, Buffer>(l2SlicesKept);
  readonly #inflated = new Recent<bigint, Buffer>(clustersKept);

  constructor(file: ImageFile, path: string, head: Buffer, backing: Disk | undefined) {
    if (!head.subarray(0, 4).equals(Buffer.from('QFI\xfb', 'latin1'))) throw new UnreadableDisk('it is not a qcow2 image');
    const header = parseQcow2Header(path, head);
    if (header.hasBackingFile !== (backing !== undefined))
      throw new UnreadableDisk(header.hasBackingFile ? 'it has a backing file' : 'it has no backing file');
    if (header.encrypted) throw new UnreadableDisk('it is encrypted');
    if (header.externalDataFile) throw new UnreadableDisk('its data is in another file');
    const features = header.version === 3 ? head.readBigUInt64BE(72) : 0n;
    if ((features & ~harmlessFeatures) !== 0n) throw new UnreadableDisk('it is corrupt, or has features that are not read here');
    // The byte is valid only if the header is long enough to contain it.
    if (header.version === 3 && head.readUInt32BE(100) > 104 && head[104] !== 0) {
      throw new UnreadableDisk('its clusters are compressed with zstd');
    }
    const clusterBits = head.readUInt32BE(20);
    // QEMU's own limits.
    if (clusterBits < 9 || clusterBits > 21) throw new UnreadableDisk('its clusters are of no known size');
    this.#file = file;
    this.#backing = backing;
    this.#version = header.version;
    this.#clusterBits = clusterBits;
    this.#clusterBytes = 2 ** clusterBits;
    this.#l1Size = head.readUInt32BE(36);
    this.#l1TableOffset = exact(head.readBigUInt64BE(40));
    this.virtualBytes = exact(header.virtualBytes);
  }

  async read(offset: number, length: number): Promise<Buffer> {
    assertInside(this, offset, length);
    const bytes = Buffer.alloc(length);
    for (let filled = 0; filled < length; ) {
      const position = offset + filled;
      const within = position % this.#clusterBytes;
      const step = Math.min(this.#clusterBytes - within, length - filled);
      // Holes count too, since a hostile image may have any number of them.
      this.#file.budget.spend(step);
      const piece = await this.#readCluster(Math.floor(position / this.#clusterBytes), within, step);
      piece?.copy(bytes, filled);
      filled += step;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.#file.handle.close();
    await this.#backing?.close();
  }

  /** @returns undefined for zeros */
  async #readCluster(cluster: number, within: number, length: number): Promise<Buffer | undefined> {
    const entry = await this.#l2Entry(cluster);
    if ((entry & compressedFlag) !== 0n) return (await this.#inflate(entry)).subarray(within, within + length);
    // The lowest bit stands for zeros. In version 2 it is reserved.
    if (this.#version === 3 && (entry & 1n) !== 0n) return undefined;
    const host = this.#aligned(entry);
    return host === 0 ? this.#readBelow(cluster * this.#clusterBytes + within, length) : this.#file.read(host + within, length);
  }

  /** Reads zeros beyond the end of a smaller disk. */
  async #readBelow(offset: number, length: number): Promise<Buffer | undefined> {
    const there = Math.min(length, (this.#backing?.virtualBytes ?? 0) - offset);
    return there <= 0 ? undefined : this.#backing?.read(offset, there);
  }

  /** @returns 0 if it, or the whole L2 table, is not allocated */
  async #l2Entry(cluster: number): Promise<bigint> {
    const entriesPerTable = this.#clusterBytes / 8;
    const l1Index = Math.floor(cluster / entriesPerTable);
    if (l1Index >= this.#l1Size) throw new UnreadableDisk('its L1 table is too short');
    const sliceBytes = Math.min(this.#clusterBytes, l2SliceBytes);
    const slice = await this.#l2Slices.get(Math.floor(cluster / (sliceBytes / 8)), async () => {
      // The L1 table is not kept in memory, since its size may be given as 32 GiB. One entry serves a whole slice.
      const table = this.#aligned((await this.#file.read(this.#l1TableOffset + l1Index * 8, 8)).readBigUInt64BE());
      const start = (cluster % entriesPerTable) * 8;
      return table === 0 ? Buffer.alloc(sliceBytes) : this.#file.read(table + start - (start % sliceBytes), sliceBytes);
    });
    return slice.readBigUInt64BE((cluster % (sliceBytes / 8)) * 8);
  }

  async #inflate(entry: bigint): Promise<Buffer> {
    const offsetBits = BigInt(70 - this.#clusterBits);
    const offset = entry & ((1n << offsetBits) - 1n);
    const sectors = (entry & (compressedFlag - 1n)) >> offsetBits;
    const length = (Number(sectors) + 1) * 512 - Number(offset & 511n);
    return this.#inflated.get(entry, async () => {
      const packed = await this.#file.read(exact(offset), length);
      this.#file.budget.spend(this.#clusterBytes);
      // Like QEMU, accepts a stream that fills the cluster without an end marker.
      const cluster = await inflate(packed, { maxOutputLength: this.#clusterBytes, finishFlush: zlibFlags.Z_SYNC_FLUSH });
      if (cluster.length !== this.#clusterBytes) throw new UnreadableDisk('a compressed cluster is cut short');
      return cluster;
    });
  }

  /** The host offset in an L1 or L2 entry. */
  #aligned(entry: bigint): number {
    const offset = exact(entry & offsetMask);
    if (offset % this.#clusterBytes !== 0) throw new UnreadableDisk('a table points between clusters');
    return offset;
  }
}

/** @throws UnreadableDisk if a number cannot represent it exactly */
export function exact(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new UnreadableDisk('an offset or size is beyond all disks');
  return Number(value);
}
