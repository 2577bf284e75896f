/** FAT file systems with a few files, as bytes. */

export interface FatOptions {
  kind: 12 | 16 | 32;
  /** Of the only file: a directory of \EFI, and a name of eleven characters. */
  vendor?: string;
  file?: string;
}

const clustersOf = { 12: 2000, 16: 5000, 32: 66_000 };
const sector = 512;

/** Clusters of 512 bytes. \EFI has so many entries that its second cluster has the directory of the loader. */
export function fatImage({ kind, vendor = 'BOOT       ', file = 'BOOTX64 EFI' }: FatOptions): Buffer {
  const clusters = clustersOf[kind];
  const reserved = kind === 32 ? 32 : 1;
  const tableSectors = Math.ceil(((clusters + 2) * kind) / 8 / sector);
  const rootEntries = kind === 32 ? 0 : 512;
  const rootAt = (reserved + 2 * tableSectors) * sector;
  const dataAt = rootAt + rootEntries * 32;
  const image = Buffer.alloc(dataAt + clusters * sector);
  image.writeUInt16LE(sector, 11);
  image.writeUInt8(1, 13);
  image.writeUInt16LE(reserved, 14);
  image.writeUInt8(2, 16);
  image.writeUInt16LE(rootEntries, 17);
  image.writeUInt32LE(image.length / sector, 32);
  if (kind === 32) {
    image.writeUInt32LE(tableSectors, 36);
    image.writeUInt32LE(2, 44);
  } else image.writeUInt16LE(tableSectors, 22);
  image.writeUInt16LE(0xaa55, 510);

  const link = (cluster: number, next: number): void => {
    const at = reserved * sector + Math.floor((cluster * kind) / 8);
    if (kind === 32) image.writeUInt32LE(next, at);
    else if (kind === 16) image.writeUInt16LE(next & 0xffff, at);
    else {
      const before = image.readUInt16LE(at);
      image.writeUInt16LE(cluster % 2 === 0 ? (before & 0xf000) | (next & 0xfff) : (before & 0xf) | ((next & 0xfff) << 4), at);
    }
  };
  const end = 0x0fff_ffff;
  const at = (cluster: number): number => dataAt + (cluster - 2) * sector;
  const put = (place: number, entries: Buffer[]): void => void Buffer.concat(entries).copy(image, place);
  link(2, end);
  put(kind === 32 ? at(2) : rootAt, [entry('COWHERD    ', 0x08, 0), entry('LONG NAME  ', 0x0f, 0), entry('EFI        ', 0x10, 3)]);
  link(3, 4);
  put(at(3), [
    entry('.          ', 0x10, 3),
    entry('..         ', 0x10, 0),
    ...Array.from({ length: 14 }, () => entry('\u00e5ELETED    ', 0x10, 9)),
  ]);
  link(4, end);
  put(at(4), [entry(vendor, 0x10, 5)]);
  link(5, end);
  put(at(5), [entry(file, 0x20, 6)]);
  link(6, end);
  return image;
}

function entry(name: string, attributes: number, cluster: number): Buffer {
  const bytes = Buffer.alloc(32);
  bytes.write(name, 'latin1');
  bytes.writeUInt8(attributes, 11);
  bytes.writeUInt16LE(cluster >> 16, 20);
  bytes.writeUInt16LE(cluster & 0xffff, 26);
  return bytes;
}
