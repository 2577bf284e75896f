import { CowherdError } from '../errors.js';
import { shellWord } from '../quoting.js';

/** Detects files that are not disk images by their first bytes, with hints on what to do instead. */

/** Position and length of the signature in the volume descriptor of an ISO 9660 or UDF image. */
export const volumeSignature = { offset: 0x8001, length: 5 };

const volumeWords = ['CD001', 'BEA01', 'NSR02', 'NSR03'];

interface Kind {
  what: string;
  offset?: number;
  magic: Buffer;
  hint: (path: string) => string;
}

const uncompress =
  (command: string) =>
  (path: string): string =>
    /\.(tar\.\w+|tgz|txz|tbz2?)$/i.test(path) ? unpack(`tar -xf ${path}`) : `Uncompress it first: ${command} ${path}`;
const unpack = (command: string): string => `Unpack it, and name the disk image that is in it: ${command}`;
const tar = (path: string): string =>
  /\.ova$/i.test(path)
    ? `Unpack it and convert the disk that is in it: tar -xf ${path}; qemu-img convert -O qcow2 DISK.vmdk golden.qcow2`
    : unpack(`tar -xf ${path}`);
const noDisk = (): string => 'A base image is the disk of an installed system, in qcow2 or raw format.';

/** What an import unpacks. It is refused only where nothing is unpacked. */
const packed: readonly Kind[] = [
  { what: 'compressed with gzip', magic: Buffer.from('1f8b', 'hex'), hint: uncompress('gunzip -k') },
  { what: 'compressed with xz', magic: Buffer.from('fd377a585a00', 'hex'), hint: uncompress('xz -dk') },
  { what: 'compressed with bzip2', magic: Buffer.from('BZh'), hint: uncompress('bunzip2 -k') },
  { what: 'compressed with zstd', magic: Buffer.from('28b52ffd', 'hex'), hint: uncompress('zstd -d') },
  { what: 'a tar archive', offset: 257, magic: Buffer.from('ustar'), hint: tar },
];

const kinds: readonly Kind[] = [
  { what: 'compressed with lz4', magic: Buffer.from('04224d18', 'hex'), hint: uncompress('lz4 -d') },
  { what: 'a zip archive', magic: Buffer.from('504b0304', 'hex'), hint: (path) => unpack(`unzip ${path}`) },
  { what: 'a 7z archive', magic: Buffer.from('377abcaf271c', 'hex'), hint: (path) => unpack(`7z x ${path}`) },
  { what: 'a rar archive', magic: Buffer.from('526172211a07', 'hex'), hint: (path) => unpack(`unrar x ${path}`) },
  { what: 'a package or an ar archive', magic: Buffer.from('!<arch>\n'), hint: noDisk },
  { what: 'an RPM package', magic: Buffer.from('edabeedb', 'hex'), hint: noDisk },
  { what: 'a cpio archive', magic: Buffer.from('070701'), hint: noDisk },
  { what: 'a squashfs file system', magic: Buffer.from('hsqs'), hint: noDisk },
];

/**
 * For engines that upload a file as it is. @param head the first bytes of the file
 * @throws BASE_REFUSED if it has to be unpacked
 */
export function assertUnpacked(path: string, head: Buffer): void {
  const kind = kindOf(packed, head);
  if (kind !== undefined) throw new CowherdError('BASE_REFUSED', `${path} is ${kind.what}`, { hint: kind.hint(shellWord(path)) });
}

function kindOf(list: readonly Kind[], head: Buffer): Kind | undefined {
  return list.find(({ offset = 0, magic }) => head.subarray(offset, offset + magic.length).equals(magic));
}

/**
 * @param head the first bytes of the file
 * @param volume the bytes at {@link volumeSignature}
 * @param given the given format, since a bootable ISO may be used as a disk
 * @throws BASE_REFUSED
 */
export function assertIsDisk(path: string, head: Buffer, volume: Buffer, given: 'qcow2' | 'raw' | undefined): void {
  const refuse = (what: string, hint: string): never => {
    throw new CowherdError('BASE_REFUSED', `${path} is ${what}`, { hint });
  };
  const word = shellWord(path);
  const kind = kindOf(kinds, head);
  if (kind !== undefined) refuse(kind.what, kind.hint(word));
  if (given !== 'raw' && volumeWords.includes(volume.toString('latin1'))) {
    refuse(
      'an ISO image: a CD or DVD, not the disk of an installed system',
      `Install from it into a disk first (virt-install --cdrom ${word} …), or get the "cloud" or "qcow2" image of that system. To use it as a disk anyway: --format raw`,
    );
  }
  const text = textOf(head);
  if (text === undefined) return;
  if (htmlStart.test(text)) {
    refuse('an HTML page', 'The download returned a web page instead of the image: check it, and download the image from its direct link.');
  }
  // A VMware disk may begin with a text description.
  if (text.startsWith('# Disk DescriptorFile') || given === 'raw') return;
  const what = /^\s*<(\?xml|domain|error)\b/i.test(text) ? 'an XML document' : /^\s*[[{]/.test(text) ? 'a JSON document' : 'a text file';
  refuse(what, 'Name the disk image file itself. If it was downloaded, read it: it may say what went wrong.');
}

const htmlStart = /^\s*(<\?xml[^>]*>\s*)?<(!doctype\s+html|html|head|body)\b/i;

/** @param head the first bytes of a file */
export function isHtml(head: Buffer): boolean {
  return htmlStart.test(textOf(head) ?? '');
}

/** For a raw disk that cannot boot by itself. @param head the first 512 bytes of the file */
export function bootWarning(path: string, head: Buffer): string | undefined {
  if (head.length >= 512 && head.readUInt16LE(510) === 0xaa55) return undefined;
  return `${path} was imported as a raw disk, but it has no boot sector: is it a disk image?`;
}

/** The beginning of a text file; undefined for binary data. */
export function textOf(head: Buffer): string | undefined {
  if (head.length === 0) return undefined;
  try {
    // The last character may be incomplete.
    const text = new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: true });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these do not occur in text
    return /[\u0000-\u0008\u000e-\u001a\u001c-\u001f\u007f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** Whether the text is a URL of any kind. */
export function isUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
}

/**
 * @param way `curl` if the image must be downloaded to a file first
 * @throws BAD_USAGE for a URL, with the command that downloads and imports it
 */
export function assertNoUrl(text: string, way: 'pull' | 'curl' = 'pull'): void {
  if (!isUrl(text)) return;
  throw new CowherdError('BAD_USAGE', `${text} is a URL, and a base image is a file`, { hint: hintForUrl(text, way) });
}

function hintForUrl(text: string, way: 'pull' | 'curl'): string {
  if (text.toLowerCase().startsWith('file://')) return `Name the path itself: ${shellWord(decodeURI(text.slice('file://'.length)))}`;
  if (way === 'pull' && /^https?:/i.test(text)) return `Download it into the store: cowherd base pull ${shellWord(text)}`;
  const [address = ''] = text.split(/[?#]/, 1);
  const name = /[^/]\/([\w.-]*\w)$/.exec(address)?.[1] ?? 'golden.qcow2';
  return `Download it, and add it to the store: curl -fL -o ${shellWord(name)} ${shellWord(text)} && cowherd base add ${shellWord(name)}`;
}
