import { constants as fileFlags } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { inflateRaw, constants as zlibFlags } from 'node:zlib';
import { isFormat } from '../../core/image/overlay-format.js';
import { headerBytes, parseQcow2Header } from '../../core/image/qcow2-header.js';
import { compressedFlag, L2Tables, type Piece } from './l2-tables.js';
import { exact, maxReadBytes, ReadBudget, Recent, UnreadableDisk } from './read-budget.js';

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

const clustersKept = 4;
// Incompatible features that can be read: dirty (refcounts only), compression type and extended L2 entries.
const readableFeatures = 0b11001n;

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
  readonly #clusterBits: number;
  readonly #clusterBytes: number;
  readonly #l2: L2Tables;
  readonly #inflated = new Recent<bigint, Buffer>(clustersKept);

  constructor(file: ImageFile, path: string, head: Buffer, backing: Disk | undefined) {
    if (!head.subarray(0, 4).equals(Buffer.from('QFI\xfb', 'latin1'))) throw new UnreadableDisk('it is not a qcow2 image');
    const header = parseQcow2Header(path, head);
    if (header.hasBackingFile !== (backing !== undefined))
      throw new UnreadableDisk(header.hasBackingFile ? 'it has a backing file' : 'it has no backing file');
    if (header.encrypted) throw new UnreadableDisk('it is encrypted');
    if (header.externalDataFile) throw new UnreadableDisk('its data is in another file');
    const features = header.version === 3 ? head.readBigUInt64BE(72) : 0n;
    if ((features & ~readableFeatures) !== 0n) throw new UnreadableDisk('it is corrupt, or has features that are not read here');
    // The byte is valid only if the header is long enough to contain it.
    if (header.version === 3 && head.readUInt32BE(100) > 104 && head[104] !== 0) {
      throw new UnreadableDisk('its clusters are compressed with zstd');
    }
    const clusterBits = head.readUInt32BE(20);
    if (!isFormat(header)) throw new UnreadableDisk('its clusters are of no known size');
    this.#file = file;
    this.#backing = backing;
    this.#clusterBits = clusterBits;
    this.#clusterBytes = header.clusterBytes;
    this.#l2 = new L2Tables(file, {
      version: header.version,
      clusterBytes: this.#clusterBytes,
      l1Size: head.readUInt32BE(36),
      l1TableOffset: exact(head.readBigUInt64BE(40)),
      extendedL2: header.extendedL2,
    });
    this.virtualBytes = exact(header.virtualBytes);
  }

  async read(offset: number, length: number): Promise<Buffer> {
    assertInside(this, offset, length);
    const bytes = Buffer.alloc(length);
    for (let filled = 0; filled < length; ) {
      const piece = await this.#l2.find(offset + filled, length - filled);
      // Holes count too, since a hostile image may have any number of them.
      this.#file.budget.spend(piece.length);
      (await this.#readPiece(piece, offset + filled))?.copy(bytes, filled);
      filled += piece.length;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.#file.handle.close();
    await this.#backing?.close();
  }

  /** @returns undefined for zeros */
  async #readPiece(piece: Piece, position: number): Promise<Buffer | undefined> {
    if (piece.from === 'file') return this.#file.read(piece.offset, piece.length);
    if (piece.from === 'compressed') {
      const within = position % this.#clusterBytes;
      return (await this.#inflate(piece.descriptor)).subarray(within, within + piece.length);
    }
    return piece.from === 'backing' ? this.#readBelow(position, piece.length) : undefined;
  }

  /** Reads zeros beyond the end of a smaller disk. */
  async #readBelow(offset: number, length: number): Promise<Buffer | undefined> {
    const there = Math.min(length, (this.#backing?.virtualBytes ?? 0) - offset);
    return there <= 0 ? undefined : this.#backing?.read(offset, there);
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
}
