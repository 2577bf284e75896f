import { CowherdError } from '../errors.js';
import { shellWord } from '../quoting.js';

/** The header of an image. Read before any tool opens the file, since opening follows the file names in it. */
export interface Qcow2Header {
  version: number;
  /** Bytes. */
  virtualBytes: bigint;
  hasBackingFile: boolean;
  encrypted: boolean;
  dirty: boolean;
  corrupt: boolean;
  externalDataFile: boolean;
  clusterBytes: number;
  extendedL2: boolean;
  internalSnapshots: number;
  /** End of the L1 table in the file; the file of an empty disk ends there. */
  l1End: bigint;
  /** Autoclear features, which writers without support clear, such as dirty bitmaps. */
  hasAutoclear: boolean;
}

export const headerBytes = 512;

export const qcow2Magic = Buffer.from('QFI\xfb', 'latin1');

/** The largest disk for an overlay with QEMU's default clusters of 64 KiB: 2 PiB. */
export const maxVirtualBytes = 2n ** 51n;

const otherFormats: Array<{ name: string; offset: number; magic: Buffer }> = [
  { name: 'vmdk', offset: 0, magic: Buffer.from('KDMV') },
  { name: 'vmdk', offset: 0, magic: Buffer.from('# Disk DescriptorFile') },
  { name: 'vmdk', offset: 0, magic: Buffer.from('COWD') },
  { name: 'vhdx', offset: 0, magic: Buffer.from('vhdxfile') },
  { name: 'vpc (VHD)', offset: 0, magic: Buffer.from('conectix') },
  { name: 'qed', offset: 0, magic: Buffer.from('QED\0') },
  { name: 'parallels', offset: 0, magic: Buffer.from('WithoutFreeSpace') },
  { name: 'parallels', offset: 0, magic: Buffer.from('WithouFreSpacExt') },
  { name: 'bochs', offset: 0, magic: Buffer.from('Bochs Virtual HD Image') },
  { name: 'vdi', offset: 0x40, magic: Buffer.from('7f10dabe', 'hex') },
  { name: 'luks', offset: 0, magic: Buffer.from('LUKS\xba\xbe', 'latin1') },
];

/**
 * The format of an image file: the given one, checked against the first bytes.
 * @param head the file's first {@link headerBytes} bytes
 * @param name the name that says what it should be, if the path does not
 * @throws BASE_REFUSED
 */
export function imageFormat(path: string, head: Buffer, given: 'qcow2' | 'raw' | undefined, name = path): 'qcow2' | 'raw' {
  const isQcow2 = head.subarray(0, 4).equals(qcow2Magic);
  if (isQcow2) {
    if (given === 'raw') {
      throw new CowherdError('BASE_REFUSED', `${path} is a qcow2 image, not raw as --format says`, {
        hint: 'Use --format qcow2. A raw disk whose content begins like a qcow2 image cannot be distinguished from one and is not accepted.',
      });
    }
    return 'qcow2';
  }
  const other = otherFormats.find(({ offset, magic }) => head.subarray(offset, offset + magic.length).equals(magic));
  if (other !== undefined) {
    throw new CowherdError('BASE_REFUSED', `${path} is ${other.name === 'luks' ? 'encrypted (LUKS)' : `in the format ${other.name}`}`, {
      hint:
        other.name === 'luks'
          ? 'cowherd supports unencrypted images only: the overlays would need the key of the base image.'
          : `Convert it: qemu-img convert -O qcow2 ${shellWord(path)} golden.qcow2`,
    });
  }
  if (given === 'qcow2' || (given === undefined && /\.qcow2?$/i.test(name))) {
    throw new CowherdError('BASE_REFUSED', `${path} is not a qcow2 image: its first bytes are not QFI`, {
      hint: given === undefined ? 'If it is a raw disk, use --format raw.' : 'Leave out --format, or use --format raw.',
    });
  }
  return 'raw';
}

/**
 * @param head the file's first {@link headerBytes} bytes
 * @throws BASE_REFUSED if it is too short or has an unknown version
 * Source: QEMU docs/interop/qcow2.txt
 */
export function parseQcow2Header(path: string, head: Buffer): Qcow2Header {
  const version = head.length >= 72 ? head.readUInt32BE(4) : 0;
  if (version !== 2 && version !== 3) {
    throw new CowherdError('BASE_REFUSED', `${path} has no readable qcow2 header`, {
      hint: 'The file is truncated or damaged. Copy it again from its source, and check it with "qemu-img check".',
    });
  }
  const incompatible = version === 3 && head.length >= 104 ? head.readBigUInt64BE(72) : 0n;
  return {
    version,
    virtualBytes: head.readBigUInt64BE(24),
    clusterBytes: 2 ** head.readUInt32BE(20),
    hasBackingFile: head.readBigUInt64BE(8) !== 0n,
    encrypted: head.readUInt32BE(32) !== 0,
    internalSnapshots: head.readUInt32BE(60),
    dirty: (incompatible & 1n) !== 0n,
    corrupt: (incompatible & 2n) !== 0n,
    externalDataFile: (incompatible & 4n) !== 0n,
    extendedL2: (incompatible & 16n) !== 0n,
    l1End: head.readBigUInt64BE(40) + 8n * BigInt(head.readUInt32BE(36)),
    hasAutoclear: version === 3 && head.length >= 104 && head.readBigUInt64BE(88) !== 0n,
  };
}

/**
 * Refuses images that cannot become base images.
 * @param fileBytes the length of the file
 * @param trustChain accept backing files and external data files, which are flattened on import
 * @param isFromQemu it is not a copy, so it may end anywhere: where a snapshot was deleted, the file keeps its length
 * @throws BASE_REFUSED
 */
export function assertImportable(
  path: string,
  header: Qcow2Header,
  fileBytes: bigint,
  { trustChain, isFromQemu = false }: { trustChain: boolean; isFromQemu?: boolean | undefined },
): void {
  const refuse = (reason: string, hint: string): never => {
    throw new CowherdError('BASE_REFUSED', `${path} ${reason}`, { hint });
  };
  if (header.virtualBytes === 0n) refuse('is an empty disk', 'A base image needs a disk that is not empty.');
  if (header.virtualBytes > maxVirtualBytes) refuse('is a disk larger than 2 PiB', 'No overlay can be made on a disk of that size.');
  if (header.encrypted)
    refuse('is encrypted', 'cowherd supports unencrypted images only: the overlays would need the key of the base image.');
  if (header.corrupt) refuse('is marked corrupt', `Try "qemu-img check -r all ${shellWord(path)}" on a copy of it.`);
  if (header.dirty) refuse('was not closed cleanly', `Shut down what uses it, then run "qemu-img check -r all ${shellWord(path)}".`);
  const bringAgain = 'Copy it again from its source.';
  if (header.l1End > fileBytes) refuse('ends before its tables do: it is truncated', bringAgain);
  // QEMU's files end at whole sectors, except for tables at the end; qemu-img check ignores a truncated last cluster.
  const mayEndAnywhere = isFromQemu || header.internalSnapshots > 0 || header.hasAutoclear || header.l1End === fileBytes;
  if (fileBytes % 512n !== 0n && !mayEndAnywhere) {
    refuse(
      'ends within a sector: it is truncated',
      `${bringAgain} If it is whole: qemu-img convert -f qcow2 -O qcow2 ${shellWord(path)} golden.qcow2`,
    );
  }
  if (trustChain) return;
  const flatten = 'If you trust it, import with --trust-chain: cowherd then flattens it into one file.';
  if (header.hasBackingFile) refuse('has a backing file of its own', flatten);
  if (header.externalDataFile) refuse('keeps its data in an external file', flatten);
}

/**
 * Position of the backing file name in a qcow2 file; undefined if there is none.
 * @param head the file's first {@link headerBytes} bytes
 * Source: QEMU docs/interop/qcow2.txt
 */
export function backingNamePlace(head: Buffer): { offset: number; length: number } | undefined {
  if (head.length < 72 || !head.subarray(0, 4).equals(qcow2Magic)) return undefined;
  const [offset, length] = [head.readBigUInt64BE(8), head.readUInt32BE(16)];
  return offset === 0n || offset > 0x20_0000n || length === 0 || length > 1023 ? undefined : { offset: Number(offset), length };
}

/**
 * The local files that a backing file name may refer to, in any syntax of QEMU.
 * @param path of the image with the name, for messages
 * @throws BASE_REFUSED if it cannot be parsed
 */
export function filesNamed(path: string, name: string): string[] {
  if (!name.startsWith('json:')) {
    const plain = name.replace(/^file:/, '');
    // Other protocols do not refer to files of this host. A path may contain a colon after a slash.
    return name === plain && /^[A-Za-z][A-Za-z0-9+.-]*:/.test(plain) ? [] : [plain];
  }
  try {
    return fileNamesIn(JSON.parse(name.slice('json:'.length)));
  } catch (cause) {
    throw new CowherdError('BASE_REFUSED', `${path} names its backing file in a way that cowherd cannot read`, {
      details: [name.slice(0, 200)],
      cause,
    });
  }
}

/** Every `filename` of QEMU's block options, nested or with dotted keys. */
function fileNamesIn(options: unknown): string[] {
  if (typeof options !== 'object' || options === null) return [];
  return Object.entries(options).flatMap(([key, value]) =>
    typeof value === 'string' ? (/(^|\.)filename$/.test(key) ? [value.replace(/^file:/, '')] : []) : fileNamesIn(value),
  );
}
