import { isVhdFooter } from './vhd.js';

/** What an image file is, by its content. A file name is never evidence. */

export const compressions = ['gzip', 'xz', 'zstd', 'bzip2'] as const;
export type Compression = (typeof compressions)[number];
/** What has to be unpacked. */
export type Packing = Compression | 'tar';

/** Formats that are converted to qcow2 on import, by QEMU's names. */
export const foreignFormats = ['vmdk', 'vpc', 'vhdx', 'vdi'] as const;
export type ForeignFormat = (typeof foreignFormats)[number];

export type Container = Packing | ForeignFormat;

/** Bytes at the beginning of a file that {@link detect} needs. */
export const detectBytes = 512;
/** Bytes at its end: a fixed VHD has only a footer. */
export const footerBytes = 512;

const magics: ReadonlyArray<{ kind: Container; offset?: number; magic: Buffer }> = [
  { kind: 'gzip', magic: Buffer.from('1f8b', 'hex') },
  { kind: 'xz', magic: Buffer.from('fd377a585a00', 'hex') },
  { kind: 'zstd', magic: Buffer.from('28b52ffd', 'hex') },
  { kind: 'vmdk', magic: Buffer.from('KDMV') },
  { kind: 'vmdk', magic: Buffer.from('COWD') },
  { kind: 'vmdk', magic: Buffer.from('# Disk DescriptorFile') },
  { kind: 'vhdx', magic: Buffer.from('vhdxfile') },
  { kind: 'vpc', magic: Buffer.from('conectix') },
  // Last, since a disk of the formats above may contain these bytes by chance.
  { kind: 'vdi', offset: 64, magic: Buffer.from('7f10dabe', 'hex') },
  { kind: 'tar', offset: 257, magic: Buffer.from('ustar') },
];

/** The magics of a bzip2 block, and of the end of an empty file. Three letters alone may also begin a text. */
const bzip2 = /^425a683[1-9](314159265359|177245385090)/;

/**
 * @param head the first {@link detectBytes} bytes
 * @param footer the last {@link footerBytes} bytes; empty if the content is taken as a raw disk, whose last sector means nothing
 * @returns undefined for qcow2, raw and everything that is refused
 */
export function detect(head: Buffer, footer: Buffer): Container | undefined {
  const found = magics.find(({ offset = 0, magic }) => head.subarray(offset, offset + magic.length).equals(magic))?.kind;
  if (found !== undefined) return found;
  if (bzip2.test(head.toString('hex', 0, 10))) return 'bzip2';
  return isVhdFooter(footer) && !head.subarray(0, 4).equals(Buffer.from('QFI\xfb', 'latin1')) ? 'vpc' : undefined;
}

export function isPacking(kind: Container | undefined): kind is Packing {
  return kind !== undefined && !isForeign(kind);
}

export function isForeign(kind: string | undefined): kind is ForeignFormat {
  return (foreignFormats as readonly (string | undefined)[]).includes(kind);
}

/** As users know it; also in the record of a base image. */
export function titleOf(kind: Container): string {
  return kind === 'vpc' ? 'vhd' : kind;
}

const endings: Readonly<Record<Compression, RegExp>> = { gzip: /\.gz$/i, xz: /\.xz$/i, zstd: /\.zst$/i, bzip2: /\.bz2$/i };
const shortEndings: Readonly<Record<Compression, RegExp>> = { gzip: /\.tgz$/i, xz: /\.txz$/i, zstd: /\.tzst$/i, bzip2: /\.tbz2?$/i };

/** The name that the tool would give to the content: `disk.img.xz` → `disk.img`, `disk.tgz` → `disk.tar`. */
export function uncompressedName(name: string, kind: Compression): string {
  return name.replace(endings[kind], '').replace(shortEndings[kind], '.tar');
}
