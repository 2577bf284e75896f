import { shellWord } from '../../quoting.js';
import { assertVirtualSize, refuse, refuseDamaged } from './refusal.js';

/**
 * The header and the embedded descriptor of a VMDK. QEMU opens the files that a descriptor names, so only a file that contains the whole
 * disk is accepted. Source: QEMU block/vmdk.c, and VMware's "Virtual Disk Format 5.0".
 */

const sector = 512;
/** QEMU reads an embedded descriptor here, wherever the header says that it is. */
const descriptorOffset = sector;
const descriptorBytes = 20 * sector;

/** Bytes at the beginning of the file that {@link vmdkSize} needs. */
export const vmdkHeadBytes = descriptorOffset + descriptorBytes;
/** Bytes at its end, up to a whole sector: footer marker, footer, end marker. */
export const vmdkTailBytes = 3 * sector;

/** In a stream, the header with the tables' position is at the end. */
const atEnd = 0xffff_ffff_ffff_ffffn;

/**
 * @param head the first {@link vmdkHeadBytes} bytes
 * @param tail the last {@link vmdkTailBytes} bytes
 * @returns the virtual size in bytes
 * @throws BASE_REFUSED if it needs other files, or is damaged
 */
export function vmdkSize(path: string, head: Buffer, tail: Buffer): bigint {
  const magic = head.toString('latin1', 0, 4);
  if (magic !== 'KDMV') {
    const [what, hint] =
      magic === 'COWD'
        ? ['one extent of a VMware disk: its descriptor is another file', 'Export the virtual machine as an OVA file, and import that.']
        : ['a VMDK descriptor: the disk itself is in other files', intoOneFile(path)];
    refuse(`${path} is ${what}`, hint);
  }
  if (head.length < vmdkHeadBytes) refuseDamaged(path, 'vmdk');
  const capacity = head.readBigUInt64LE(12);
  // With a capacity of 0, QEMU takes the extents from the descriptor.
  if (capacity === 0n) refuse(`${path} is a VMDK without data of its own`, intoOneFile(path));
  if (head.readBigUInt64LE(28) !== 1n) refuse(`${path} is one extent of a VMDK: its descriptor is another file`, intoOneFile(path));
  assertAlone(path, head.subarray(descriptorOffset, descriptorOffset + descriptorBytes));
  const sizes = [capacity];
  if (head.readBigUInt64LE(56) === atEnd) {
    if (tail.length < vmdkTailBytes || tail.toString('latin1', sector, sector + 4) !== 'KDMV') {
      refuse(`${path} has no footer: it is truncated`, 'Copy it again from its source.');
    }
    sizes.push(tail.readBigUInt64LE(sector + 12));
  }
  for (const size of sizes) assertVirtualSize(path, size * BigInt(sector));
  return (sizes.at(-1) ?? 0n) * BigInt(sector);
}

const intoOneFile = (path: string): string =>
  `If you trust it, merge its files where they are: qemu-img convert -f vmdk -O qcow2 ${shellWord(path)} golden.qcow2`;

/** @throws BASE_REFUSED if the descriptor refers to a parent or to other files */
function assertAlone(path: string, descriptor: Buffer): void {
  // QEMU finds these words anywhere in a descriptor, so they are not parsed by lines.
  if (descriptor.includes('parentFileNameHint')) refuseParent(path);
  const [text = ''] = descriptor.toString('latin1').split('\0', 1);
  const parents = [...text.matchAll(/parentCID\s*=\s*"?([0-9a-z]*)/gi)].map(([, id = '']) => id.toLowerCase());
  if (parents.length === 0) refuse(`${path} has no descriptor: it is one extent of a VMDK, or damaged`, intoOneFile(path));
  if (parents.some((id) => !/^f{8}$/.test(id))) refuseParent(path);
  const types = [...text.matchAll(/createType\s*=\s*"?([\w-]*)/gi)].map(([, type = '']) => type);
  const foreign = types.find((type) => !/^(monolithicSparse|streamOptimized)$/i.test(type));
  if (types.length === 0) refuseDamaged(path, 'vmdk');
  if (foreign !== undefined) refuse(`${path} is a VMDK of the type ${foreign}, which keeps its data in other files`, intoOneFile(path));
  const extents = [...text.matchAll(/^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\w+)/gim)].map(([, type = '']) => type);
  if (extents.length !== 1 || extents[0]?.toUpperCase() !== 'SPARSE') {
    refuse(
      `${path} is a VMDK with ${extents.length === 1 ? `an extent of the type ${extents[0]}` : `${extents.length} extents`}`,
      intoOneFile(path),
    );
  }
}

function refuseParent(path: string): never {
  refuse(`${path} has a parent: it has only the differences from another disk`, intoOneFile(path));
}
