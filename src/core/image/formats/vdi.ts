import { assertVirtualSize, refuse, refuseDamaged } from './refusal.js';

/** The header of a VirtualBox image. Source: QEMU block/vdi.c. */

/** Bytes at the beginning of the file that {@link vdiSize} needs. */
export const vdiHeadBytes = 512;

const imageType = { dynamic: 1, fixed: 2 } as const;
const noUuid = Buffer.alloc(16);

/**
 * @param head the first {@link vdiHeadBytes} bytes
 * @returns the virtual size in bytes
 * @throws BASE_REFUSED if it has a parent, or is damaged
 */
export function vdiSize(path: string, head: Buffer): bigint {
  if (head.length < vdiHeadBytes || head.readUInt32LE(0x40) !== 0xbeda107f) refuseDamaged(path, 'vdi');
  const type = head.readUInt32LE(0x4c);
  const links = [0x1a8, 0x1b8].map((offset) => head.subarray(offset, offset + 16));
  if ((type !== imageType.dynamic && type !== imageType.fixed) || links.some((uuid) => !uuid.equals(noUuid))) {
    refuse(
      `${path} has a parent: it has only the differences from another disk`,
      'Clone the disk with its snapshots into one file where they are: VBoxManage clonemedium disk FILE.vdi golden.vdi',
    );
  }
  return assertVirtualSize(path, head.readBigUInt64LE(0x170));
}
