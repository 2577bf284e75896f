import { entryBytes } from '../../core/image/overlay-format.js';
import { subclusterRuns, subclusters } from '../../core/image/subclusters.js';
import { exact, Recent, UnreadableDisk } from './read-budget.js';

/** A part of a cluster, all of which is read from the same place. */
export type Piece = { length: number } & (
  | { from: 'file'; offset: number }
  | { from: 'compressed'; descriptor: bigint }
  | { from: 'backing' | 'zeros' }
);

export interface Layout {
  version: number;
  clusterBytes: number;
  l1Size: number;
  /** Bytes from the start of the file. */
  l1TableOffset: number;
  /** Each L2 entry has a second half, the status of 32 subclusters. */
  extendedL2: boolean;
}

interface Reader {
  read(offset: number, length: number): Promise<Buffer>;
}

/** A descriptor of a cluster, and the bitmap of its subclusters: 0 if the image has none. */
interface Entry {
  descriptor: bigint;
  bitmap: bigint;
}

const sliceBytes = 4096;
const slicesKept = 64;
const offsetMask = 0x00ff_ffff_ffff_fe00n;
export const compressedFlag = 1n << 62n;

/** Finds where the content of a qcow2 image is. Source: QEMU docs/interop/qcow2.txt */
export class L2Tables {
  readonly #file: Reader;
  readonly #layout: Layout;
  readonly #entryBytes: number;
  readonly #slices = new Recent<number, Buffer>(slicesKept);

  constructor(file: Reader, layout: Layout) {
    this.#file = file;
    this.#layout = layout;
    this.#entryBytes = entryBytes(layout.extendedL2);
  }

  /**
   * @param position bytes from the start of the disk
   * @param wanted bytes; the piece may be shorter, but has at least one byte
   */
  async find(position: number, wanted: number): Promise<Piece> {
    const { version, clusterBytes, extendedL2 } = this.#layout;
    const within = position % clusterBytes;
    const length = Math.min(clusterBytes - within, wanted);
    const { descriptor, bitmap } = await this.#entry(Math.floor(position / clusterBytes));
    // A compressed cluster has no subclusters. Like QEMU, ignores its bitmap.
    if ((descriptor & compressedFlag) !== 0n) return { from: 'compressed', descriptor, length };
    if (extendedL2) return this.#subclusters(this.#aligned(descriptor), bitmap, within, length);
    // The lowest bit stands for zeros. In version 2 and with subclusters it is reserved, and QEMU ignores it.
    if (version === 3 && (descriptor & 1n) !== 0n) return { from: 'zeros', length };
    const host = this.#aligned(descriptor);
    return host === 0 ? { from: 'backing', length } : { from: 'file', offset: host + within, length };
  }

  /**
   * The adjacent subclusters that are read from the same place, as one piece: they may be as small as 512 bytes.
   * @param host where the cluster is in the file; 0 if nowhere
   */
  #subclusters(host: number, bitmap: bigint, within: number, wanted: number): Piece {
    const runs = subclusterRuns(Number(bitmap >> 32n), Number(bitmap & 0xffff_ffffn), host);
    if (runs === undefined) throw new UnreadableDisk('the status of a subcluster is invalid');
    const each = this.#layout.clusterBytes / subclusters;
    const index = Math.floor(within / each);
    const run = runs.find(({ first, count }) => index < first + count);
    if (run === undefined) throw new UnreadableDisk('a position is outside its cluster');
    const length = Math.min((run.first + run.count) * each - within, wanted);
    if (run.kind === 'data') return { from: 'file', offset: host + within, length };
    return { from: run.kind === 'zero' ? 'zeros' : 'backing', length };
  }

  /** @returns zeros if it, or the whole L2 table, is not allocated */
  async #entry(cluster: number): Promise<Entry> {
    const { clusterBytes, l1Size, l1TableOffset, extendedL2 } = this.#layout;
    const entriesPerTable = clusterBytes / this.#entryBytes;
    const l1Index = Math.floor(cluster / entriesPerTable);
    if (l1Index >= l1Size) throw new UnreadableDisk('its L1 table is too short');
    const bytesPerSlice = Math.min(clusterBytes, sliceBytes);
    const entriesPerSlice = bytesPerSlice / this.#entryBytes;
    const slice = await this.#slices.get(Math.floor(cluster / entriesPerSlice), async () => {
      // The L1 table is not kept in memory, since its size may be given as 32 GiB. One entry serves a whole slice.
      const table = this.#aligned((await this.#file.read(l1TableOffset + l1Index * 8, 8)).readBigUInt64BE());
      const start = (cluster % entriesPerTable) * this.#entryBytes;
      return table === 0 ? Buffer.alloc(bytesPerSlice) : this.#file.read(table + start - (start % bytesPerSlice), bytesPerSlice);
    });
    const at = (cluster % entriesPerSlice) * this.#entryBytes;
    return { descriptor: slice.readBigUInt64BE(at), bitmap: extendedL2 ? slice.readBigUInt64BE(at + 8) : 0n };
  }

  /** The host offset in an L1 or L2 entry. */
  #aligned(entry: bigint): number {
    const offset = exact(entry & offsetMask);
    if (offset % this.#layout.clusterBytes !== 0) throw new UnreadableDisk('a table points between clusters');
    return offset;
  }
}
