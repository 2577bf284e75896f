import { CowherdError } from '../../core/errors.js';
import { memberDisks } from '../../core/fleet/disks.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { isOn, type ObservedMember } from '../../core/fleet/observation.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { Ports } from '../../ports/index.js';

/**
 * Snapshots of cowherd's inside a member's disks that its record does not name. QEMU finishes what it was asked for also when cowherd
 * has given up waiting: no job of these can be cancelled, and while one runs the monitor does not answer. The disks themselves say
 * what became of it, so they are looked at, and no journal has to be kept for a guest that may hang for ever.
 */

type StrayPorts = Pick<Ports, 'checkpoints' | 'fleets'>;

/** Bytes of memory that each holds, by tag. @throws STATE_DAMAGED where the record cannot be read: then nothing is a stray for certain */
export async function findStrays(ports: StrayPorts, record: FleetRecord, member: MemberIdentity): Promise<Map<string, number>> {
  const strays = new Map<string, number>();
  for (const path of diskPaths(ports, record, member))
    for (const { name, stateBytes } of await ports.checkpoints.snapshots(path)) strays.set(name, (strays.get(name) ?? 0) + stateBytes);
  if (strays.size === 0) return strays;
  const kept = await ports.checkpoints.read(record.name, member.name);
  if (kept !== undefined) strays.delete(kept.tag);
  return strays;
}

/** Drops them, through QEMU where the member is on. @returns their tags */
export async function dropStrays(
  ports: StrayPorts & Pick<Ports, 'monitor' | 'images'>,
  record: FleetRecord,
  member: ObservedMember,
  isRunning = isOn(member.domain),
): Promise<string[]> {
  // A save that is still under way shows in the disks when it is done.
  if (isRunning) await ports.monitor.settle(member.name, memoryBytesOf(record));
  const tags = [...(await findStrays(ports, record, member)).keys()];
  const paths = diskPaths(ports, record, member);
  for (const tag of tags) {
    if (isRunning) await ports.monitor.drop(member.name, tag, paths);
    else for (const path of paths) await ports.images.dropSnapshot(path, tag);
  }
  return tags;
}

/**
 * For a member that is about to start. One whose record cannot be read starts all the same: nothing of it is dropped then.
 * @param off names of members whose disks are not in use
 */
export function withoutStrays(
  ports: StrayPorts & Pick<Ports, 'monitor' | 'images'>,
  record: FleetRecord,
  off: ReadonlySet<string>,
): (member: MemberIdentity) => Promise<void> {
  return async (member) => {
    if (!off.has(member.name)) return;
    await dropStrays(ports, record, { ...member, domain: undefined, overlayBytes: undefined }, false).catch((error: unknown) => {
      if (!(error instanceof CowherdError) || error.code !== 'STATE_DAMAGED') throw error;
    });
  };
}

/** Files of all disks of a member, the first one first. */
export function diskPaths(ports: Pick<Ports, 'fleets'>, record: FleetRecord, member: Pick<MemberIdentity, 'name'>): string[] {
  const { disk } = ports.fleets.files(record.name, member.name);
  return memberDisks(record, member).map(({ stem }) => disk(stem));
}

export function memoryBytesOf({ spec }: Pick<FleetRecord, 'spec'>): number {
  return spec.memoryMiB * 2 ** 20;
}
