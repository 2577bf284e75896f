import { CowherdError } from '../../errors.js';
import { maxVirtualBytes } from '../qcow2-header.js';

/** @throws BASE_REFUSED */
export function refuse(message: string, hint: string): never {
  throw new CowherdError('BASE_REFUSED', message, { hint });
}

/** @throws BASE_REFUSED for a header that the format does not allow */
export function refuseDamaged(path: string, format: string): never {
  refuse(`${path} has no readable ${format} header`, 'The file is truncated or damaged. Copy it again from its source.');
}

/**
 * @param bytes virtual size that a header specifies
 * @throws BASE_REFUSED
 */
export function assertVirtualSize(path: string, bytes: bigint): bigint {
  if (bytes <= 0n) refuse(`${path} is an empty disk`, 'A base image needs a disk that is not empty.');
  if (bytes > maxVirtualBytes) refuse(`${path} is a disk larger than 2 PiB`, 'No overlay can be made on a disk of that size.');
  return bytes;
}
