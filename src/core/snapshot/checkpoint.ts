import { z } from 'zod';
import { CowherdError } from '../errors.js';
import { type BaseRef, baseRefSchema, parseState } from '../fleet/record.js';
import { formatBaseRef } from '../image/base.js';
import { baseKey } from '../image/base-chain.js';

/** A checkpoint: a member's memory and disks at one moment, stored inside its overlays. */

/** checkpoints/<member>.json */
export const checkpointRecordSchema = z.strictObject({
  version: z.literal(1),
  fleetId: z.uuid(),
  index: z.number().int().positive(),
  /** The name of the internal snapshot in each of the member's disks. */
  tag: z.string().regex(/^cowherd-[0-9a-f]{12}$/),
  takenAt: z.iso.datetime(),
  /** The base image of the overlay. */
  base: baseRefSchema,
  /** Digest of the definition that its domain ran with. */
  definition: z.string(),
  /** libvirt's versioned machine type: pc-i440fx-7.2 */
  machine: z.string(),
  versions: z.strictObject({
    /** Version of the QEMU process that saved it. */
    qemu: z.string(),
    /** Version of the QEMU that libvirt starts, as reported by libvirt. */
    hypervisor: z.string(),
    libvirt: z.string(),
  }),
  /** Whether the guest's agent answered. */
  agent: z.boolean(),
  /** Bytes of the guest's memory and devices. */
  stateBytes: z.number().int().nonnegative(),
  /** Growth of the disks, in bytes on disk. */
  allocatedBytes: z.number().int().nonnegative(),
  /** sha256 of the snapshot's content of each disk, including memory, by stem; see {@link isLayoutFree}. */
  digests: z.record(z.string(), z.string().regex(/^(2:)?[0-9a-f]{64}$/)),
});
export type CheckpointRecord = z.infer<typeof checkpointRecordSchema>;

export const tagPrefix = 'cowherd-';

/** Prefix of digests that do not depend on the position of clusters in the file. Those of cowherd 0.1.0 do, and have no prefix. */
export const layoutFreePrefix = '2:';

export function isLayoutFree(digest: string): boolean {
  return digest.startsWith(layoutFreePrefix);
}

/** @param operationId of the run that takes it */
export function tagOf(operationId: string): string {
  return tagPrefix + operationId.replaceAll('-', '').slice(0, 12);
}

/** @throws STATE_DAMAGED */
export function parseCheckpoint(fleet: string, member: string, text: string): CheckpointRecord {
  const hint = `Take it again: cowherd checkpoint ${fleet} ${member.replace(/^.*-/, '').replace(/^0+/, '')}`;
  return parseState(checkpointRecordSchema, fleet, `checkpoints/${member}.json`, text, hint);
}

/** The state of a checkpoint, and of the machine that it would be restored to. */
export interface CheckpointFacts {
  fleetId: string;
  index: number;
  base: BaseRef;
  /** Whether each of the member's disks has a snapshot with the tag, by stem. */
  holds: ReadonlyMap<string, boolean>;
  definition: string;
  machine: string;
  /** Version of the process that it would be loaded into; undefined if libvirt has to start one first. */
  qemu: string | undefined;
  hypervisor: string;
  libvirt: string;
}

export type CheckpointStanding =
  | { kind: 'good' }
  /** Complete, but not usable on the current machine. */
  | { kind: 'outdated'; why: string }
  /** Memory and disk do not match, or belong to another member. */
  | { kind: 'broken'; why: string };

export function judgeCheckpoint(record: CheckpointRecord, sight: CheckpointFacts): CheckpointStanding {
  if (record.fleetId !== sight.fleetId || record.index !== sight.index)
    return { kind: 'broken', why: 'its checkpoint belongs to another member' };
  for (const stem of Object.keys(record.digests)) {
    const holds = sight.holds.get(stem);
    if (holds === undefined) return { kind: 'broken', why: `its checkpoint includes a disk that it no longer has, ${stem}` };
    if (!holds) return { kind: 'broken', why: `its disk ${stem} does not hold the checkpoint ${record.tag}` };
  }
  if (baseKey(record.base) !== baseKey(sight.base))
    return {
      kind: 'broken',
      why: `its checkpoint was taken on ${formatBaseRef(record.base)}, and it is based on ${formatBaseRef(sight.base)}`,
    };
  if ([...sight.holds.keys()].some((stem) => record.digests[stem] === undefined))
    return { kind: 'outdated', why: 'its disk was replaced after its checkpoint' };
  if (record.definition !== sight.definition) return { kind: 'outdated', why: 'its domain was redefined after its checkpoint' };
  if (record.machine !== sight.machine)
    return { kind: 'outdated', why: `its checkpoint is of machine type ${record.machine}, and the domain now has ${sight.machine}` };
  const { versions } = record;
  if (sight.qemu !== undefined) {
    // Only the running process matters, not the version that libvirt would start now.
    return versions.qemu === sight.qemu ? { kind: 'good' } : changed('QEMU', versions.qemu, sight.qemu);
  }
  if (versions.hypervisor !== sight.hypervisor) return changed('QEMU', versions.hypervisor, sight.hypervisor);
  if (versions.libvirt !== sight.libvirt) return changed('libvirt', versions.libvirt, sight.libvirt);
  return { kind: 'good' };
}

function changed(what: string, was: string, is: string): CheckpointStanding {
  return { kind: 'outdated', why: `its checkpoint was taken by ${what} ${was}, and this host has ${is}` };
}

/**
 * @param seen sha256 of the snapshot in the disk; undefined if it is incomplete
 * @throws IMAGE_CHANGED
 */
export function assertHeld(record: CheckpointRecord, fleet: string, stem: string, seen: string | undefined): void {
  if (seen === record.digests[stem]) return;
  throw new CowherdError(
    'IMAGE_CHANGED',
    seen === undefined
      ? `Disk ${stem} does not hold all of the checkpoint ${record.tag}`
      : `The checkpoint ${record.tag} in disk ${stem} has changed since it was taken`,
    { hint: `Nothing was loaded: memory and disk would not match. Reset it cold: cowherd reset ${fleet} ${record.index}` },
  );
}

/** The machine type of a domain, and the digest of its definition from its metadata. @param xml as libvirt prints it */
export function machineIn(domain: string, xml: string): { machine: string; definition: string } {
  const machine = /<type\b[^>]*\bmachine=['"]([^'"]+)['"]/.exec(xml)?.[1];
  const definition = /<cowherd:member\b[^>]*\bdefinition=['"]([0-9a-f]{16})['"]/.exec(xml)?.[1];
  if (machine === undefined || definition === undefined) {
    throw new CowherdError('DOMAIN_CHANGED', `The XML of ${domain} lacks its machine type or its fleet metadata`, {
      hint: `Check it: virsh dumpxml ${domain}`,
    });
  }
  return { machine, definition };
}
