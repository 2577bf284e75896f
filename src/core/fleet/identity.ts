import { createHash } from 'node:crypto';
import { memberName } from '../names.js';
import type { BaseRef } from '../spec/spec.js';

/** A member's identity. Derived from the fleet's id and the index, so it survives resets, losses and resizing. */
export interface MemberIdentity {
  /** 1-based. */
  index: number;
  name: string;
  uuid: string;
  /** One per network interface. */
  macs: string[];
  /** IPv4 address reserved for it on its libvirt network. */
  address?: string | undefined;
  /** Port of 127.0.0.1 that is forwarded to its port 22. */
  sshPort?: number | undefined;
  /** Base image of its first disk, if not the fleet's. */
  base?: BaseRef | undefined;
}

/** @param nics how many network interfaces it has */
export function memberIdentity(fleet: string, fleetId: string, index: number, nics = 1): MemberIdentity {
  const macs = Array.from({ length: nics }, (_, nic) => memberMac(fleetId, index, nic));
  return { index, name: memberName(fleet, index), uuid: memberUuid(fleetId, index), macs };
}

/** RFC 9562 version 5, with the fleet's id as the namespace and the index as the name. */
export function memberUuid(fleetId: string, index: number): string {
  const hash = createHash('sha1')
    .update(Buffer.from(fleetId.replaceAll('-', ''), 'hex'))
    .update(`member ${index}`)
    .digest()
    .subarray(0, 16);
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/**
 * QEMU's prefix and 24 bits: a start derived from the fleet's id, plus the index. Counting instead of hashing each
 * index: with 1,000 hashed addresses, one fleet in thirty would have a collision.
 */
export function memberMac(fleetId: string, index: number, nic = 0): string {
  return memberMacs(fleetId, nic)(index);
}

/** Like {@link memberMac}, for the same network interface of many members; computes the hash once. */
export function memberMacs(fleetId: string, nic: number): (index: number) => string {
  const start = createHash('sha256')
    .update(nic === 0 ? fleetId : `${fleetId} interface ${nic}`)
    .digest()
    .readUIntBE(0, 3);
  return (index) => {
    const low = ((start + index) % 2 ** 24).toString(16).padStart(6, '0');
    return `52:54:00:${low.slice(0, 2)}:${low.slice(2, 4)}:${low.slice(4, 6)}`;
  };
}
