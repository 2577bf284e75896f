import { assertVirtualSize, refuse, refuseDamaged } from './refusal.js';

/** The footer of a VHD image. Source: QEMU block/vpc.c, and Microsoft's "Virtual Hard Disk Image Format Specification". */

export const vhdFooterBytes = 512;
const cookie = 'conectix';
const checksumAt = 64;

const diskType = { fixed: 2, dynamic: 3, differencing: 4 } as const;

/** Whether a sector is a VHD footer: with its checksum, since it is the last sector of what may also be a raw disk. */
export function isVhdFooter(bytes: Buffer): boolean {
  return (
    bytes.length === vhdFooterBytes && bytes.toString('latin1', 0, 8) === cookie && bytes.readUInt32BE(checksumAt) === checksumOf(bytes)
  );
}

function checksumOf(footer: Buffer): number {
  let sum = 0;
  for (const [index, byte] of footer.entries()) if (index < checksumAt || index >= checksumAt + 4) sum += byte;
  return ~sum >>> 0;
}

/**
 * @param head the first {@link vhdFooterBytes} bytes: of a dynamic disk, a copy of the footer
 * @param footer the last {@link vhdFooterBytes} bytes
 * @returns the virtual size in bytes
 * @throws BASE_REFUSED if it has a parent, or is damaged
 */
export function vhdSize(path: string, head: Buffer, footer: Buffer, fileBytes: bigint): bigint {
  const isFixed = head.toString('latin1', 0, 8) !== cookie;
  const fields = isFixed ? footer : head;
  if (!isVhdFooter(fields)) refuseDamaged(path, 'vhd');
  const type = fields.readUInt32BE(60);
  if (type === diskType.differencing) {
    refuse(
      `${path} has a parent: it has only the differences from another disk`,
      'Merge it with its parent where both are. In Hyper-V: Merge-VHD -Path FILE -DestinationPath PARENT',
    );
  }
  if (type !== (isFixed ? diskType.fixed : diskType.dynamic)) refuseDamaged(path, 'vhd');
  const size = assertVirtualSize(path, fields.readBigUInt64BE(48));
  if (isFixed && size + BigInt(vhdFooterBytes) > fileBytes) refuse(`${path} is truncated`, 'Copy it again from its source.');
  if (size % 512n !== 0n) refuseDamaged(path, 'vhd');
  return size;
}
