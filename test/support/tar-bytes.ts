/** Tar archives as bytes, with whatever an honest tar would not write. */

export interface TarEntry {
  name: string;
  content?: Buffer;
  /** Type flag; default: a regular file. */
  type?: string;
  link?: string;
  /** Size in the header; default: that of the content. */
  size?: number;
  /** A map of its data, for the type S. */
  sparse?: SparseHeader;
}

/** Pieces of data in the format of GNU tar. */
export interface SparseHeader {
  realBytes: number;
  map: ReadonlyArray<readonly [offset: number, length: number]>;
  /** Says that another block follows, although there is none. */
  isEndless?: boolean;
}

const sector = 512;

const perHeader = 4;
const perBlock = 21;

/** Octal if it fits, else binary, as GNU tar writes it. */
function numberField(value: number): Buffer {
  const field = Buffer.alloc(12);
  if (value < 8 ** 11) field.write(`${value.toString(8).padStart(11, '0')}\0`);
  else field.writeBigUInt64BE(BigInt(value), 4);
  if (value >= 8 ** 11) field[0] = 0x80;
  return field;
}

function mapBytes(map: SparseHeader['map']): Buffer {
  return Buffer.concat(map.flatMap(([offset, length]) => [numberField(offset), numberField(length)]));
}

function writeSparse(header: Buffer, { map, realBytes, isEndless = false }: SparseHeader): void {
  header.write('ustar  \0', 257);
  mapBytes(map.slice(0, perHeader)).copy(header, 386);
  header[482] = isEndless || map.length > perHeader ? 1 : 0;
  numberField(realBytes).copy(header, 483);
}

/** What follows the header. */
function extensions({ map, isEndless = false }: SparseHeader): Buffer[] {
  const blocks: Buffer[] = [];
  for (let index = perHeader; index < map.length; index += perBlock) {
    const block = Buffer.alloc(sector);
    mapBytes(map.slice(index, index + perBlock)).copy(block);
    block[504] = isEndless || index + perBlock < map.length ? 1 : 0;
    blocks.push(block);
  }
  return blocks;
}

export function tarHeader({ name, content, type = '0', link = '', size = content?.length ?? 0, sparse }: TarEntry): Buffer {
  const header = Buffer.alloc(sector);
  header.write(name, 0, 100, 'latin1');
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write(' '.repeat(8), 148);
  header.write(type, 156);
  header.write(link, 157, 100, 'latin1');
  header.write('ustar\u000000', 257);
  if (sparse !== undefined) writeSparse(header, sparse);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

/** An extended header with these records. */
export function paxHeader(records: ReadonlyArray<readonly [key: string, value: string]>): TarEntry {
  const lines = records.map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    const length = Buffer.byteLength(rest);
    const digits = String(length + String(length).length).length;
    return `${length + digits}${rest}`;
  });
  return { name: 'PaxHeaders/x', type: 'x', content: Buffer.from(lines.join('')) };
}

export function tarOf(entries: readonly TarEntry[], { isEnded = true }: { isEnded?: boolean } = {}): Buffer {
  const parts = entries.flatMap((entry) => {
    const content = entry.content ?? Buffer.alloc(0);
    const maps = entry.sparse === undefined ? [] : extensions(entry.sparse);
    return [tarHeader(entry), ...maps, content, Buffer.alloc((sector - (content.length % sector)) % sector)];
  });
  return Buffer.concat([...parts, Buffer.alloc(isEnded ? 2 * sector : 0)]);
}
