import type { DiskSpec } from '../spec/spec.js';
import { type BaseRef, baseOf, type FleetRecord } from './record.js';

/** The name of a member's first disk. */
const firstDisk = 'root';

/** The initial content of a disk: an empty overlay on a base image, or a blank disk. */
export type DiskOrigin = { base: BaseRef; bytes?: number | undefined } | { bytes: number };

/** One disk of one member. */
export interface MemberDisk {
  /** `lab-001`, or `lab-001.data`: its file name without the extension. */
  stem: string;
  origin: DiskOrigin;
}

/** Member names have no dots, so a stem identifies the member. */
function diskStem(member: string, disk: string = firstDisk): string {
  return disk === firstDisk ? member : `${member}.${disk}`;
}

/** All disks of a member, starting with the first. */
export function memberDisks(
  record: Pick<FleetRecord, 'base' | 'spec'>,
  member: { name: string; base?: BaseRef | undefined },
): MemberDisk[] {
  return [
    { stem: diskStem(member.name), origin: { base: baseOf(record, member), bytes: record.spec.rootBytes } },
    ...record.spec.disks.map((disk) => ({ stem: diskStem(member.name, disk.name), origin: originOf(disk) })),
  ];
}

function originOf({ name, base, bytes }: DiskSpec): DiskOrigin {
  if (base !== undefined) return { base };
  if (bytes !== undefined) return { bytes };
  throw new Error(`disk ${name} has neither a base image nor a size`);
}

/** Equal for disks with the same initial content. */
export function originKey(origin: DiskOrigin): string {
  return 'base' in origin ? `${origin.base.name}@${origin.base.digest} ${origin.bytes ?? ''}` : `blank ${origin.bytes}`;
}

/** Virtual size of a fresh disk: the requested size, but at least that of its base image. */
export function originBytes(origin: DiskOrigin, imageOf: (ref: BaseRef) => { virtualBytes: number }): number {
  return 'base' in origin ? Math.max(origin.bytes ?? 0, imageOf(origin.base).virtualBytes) : origin.bytes;
}

/** Device names of the disks in the guest: vdb, sda … The first disk is vda, and the seed comes last. */
export function diskTargets(disks: readonly Pick<DiskSpec, 'bus'>[]): { targets: string[]; seed: string } {
  let virtio = 1;
  let scsi = 0;
  const targets = disks.map(({ bus }) => (bus === 'virtio' ? `vd${letter(virtio++)}` : `sd${letter(scsi++)}`));
  return { targets, seed: `vd${letter(virtio)}` };
}

function letter(position: number): string {
  return String.fromCharCode('a'.charCodeAt(0) + position);
}
