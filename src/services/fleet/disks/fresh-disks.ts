import type { BaseLookup } from '../../../core/domain/template.js';
import { type MemberDisk, memberDisks, originBytes, originKey } from '../../../core/fleet/disks.js';
import { type BaseRef, basesOf, type FleetRecord } from '../../../core/fleet/record.js';
import type { BaseImage } from '../../../core/image/base.js';
import { baseKey } from '../../../core/image/base-chain.js';
import { formerOverlayFormat } from '../../../core/image/overlay-format.js';
import type { Ports } from '../../../ports/index.js';
import { verifiedBase } from '../access.js';

/** Base images and fresh disks of a fleet. */

/** All base images of a fleet, with their seals compared.
 * @param further additional base images
 * @throws BASE_CHANGED
 */
export async function verifiedBases(
  ports: Pick<Ports, 'bases'>,
  record: FleetRecord,
  further: readonly BaseRef[] = [],
): Promise<BaseLookup> {
  const images = new Map<string, BaseImage>();
  for (const ref of [...basesOf(record), ...further]) images.set(baseKey(ref), await verifiedBase(ports, ref));
  return (ref) => {
    const image = images.get(baseKey(ref));
    if (image === undefined) throw new Error(`${ref.name} is no base image of fleet ${record.name}`);
    return image;
  };
}

export interface FreshDisks {
  /** Content of a fresh disk's file. */
  imageOf(disk: MemberDisk): Buffer;
  /** Bytes on disk of all fresh disks of one member. */
  bytesPerMember: number;
}

/** Creates one fresh file per kind of disk: all fresh overlays on one base image are identical. */
export async function freshDisks(
  ports: Pick<Ports, 'images' | 'overlays'>,
  record: FleetRecord,
  members: FleetRecord['members'],
  baseImage: BaseLookup,
): Promise<FreshDisks> {
  const { overlay: layout = formerOverlayFormat } = record.spec;
  const files = new Map<string, { image: Buffer; allocatedBytes: number }>();
  for (const { origin } of members.flatMap((member) => memberDisks(record, member))) {
    const key = originKey(origin);
    if (files.has(key)) continue;
    const scratch = await ports.overlays.scratchPath(record.name);
    const image =
      'base' in origin
        ? await ports.images.freshOverlay(baseImage(origin.base), scratch, layout, originBytes(origin, baseImage))
        : await ports.images.blankDisk(origin.bytes, scratch, layout);
    files.set(key, { image, allocatedBytes: await ports.overlays.measure(record.name, image) });
  }
  const fileOf = ({ origin, stem }: MemberDisk): { image: Buffer; allocatedBytes: number } => {
    const file = files.get(originKey(origin));
    if (file === undefined) throw new Error(`no fresh file was created for ${stem}`);
    return file;
  };
  const [first] = members;
  const ofOne = first === undefined ? [] : memberDisks(record, first);
  return {
    imageOf: (disk) => fileOf(disk).image,
    bytesPerMember: ofOne.reduce((sum, disk) => sum + fileOf(disk).allocatedBytes, 0),
  };
}

/** All disks of members, by member name. */
export function memberDisksOf(record: FleetRecord, members: FleetRecord['members']): Map<string, MemberDisk[]> {
  return new Map(members.map((member) => [member.name, memberDisks(record, member)]));
}

/** The initial NVRAM, for members with UEFI. */
export function nvramOf({ spec }: FleetRecord): { nvram?: { digest: string | undefined } } {
  return spec.firmware === 'uefi' ? { nvram: { digest: spec.nvram } } : {};
}

/** Maximum size of all disks of one member, in bytes. */
export function virtualBytesOf(record: FleetRecord, baseImage: BaseLookup): number {
  const [first] = record.members;
  if (first === undefined) return 0;
  return memberDisks(record, first).reduce((sum, { origin }) => sum + originBytes(origin, baseImage), 0);
}
