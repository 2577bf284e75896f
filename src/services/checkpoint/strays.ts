import { CowherdError } from '../../core/errors.js';
import { memberDisks } from '../../core/fleet/disks.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { isOn, type ObservedMember } from '../../core/fleet/observation.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { Ports } from '../../ports/index.js';

/** Snapshots in a member's disks that cowherd created but that its record does not name. QEMU completes a save even after cowherd stopped waiting: the job cannot be cancelled, and the monitor does not answer meanwhile. The disks show the result, so no journal is needed for a guest that may hang forever.
 */

type StrayPorts = Pick<Ports, 'checkpoints' | 'fleets'>;

/**
 * Bytes of memory in each stray snapshot, by tag.
 * @throws STATE_DAMAGED if the record cannot be read and strays cannot be told from the checkpoint
 */
export async function findStrays(ports: StrayPorts, record: FleetRecord, member: MemberIdentity): Promise<Map<string, number>> {
  const strays = new Map<string, number>();
  for (const path of diskPaths(ports, record, member))
    for (const { name, stateBytes } of await ports.checkpoints.snapshots(path)) strays.set(name, (strays.get(name) ?? 0) + stateBytes);
  if (strays.size === 0) return strays;
  const kept = await ports.checkpoints.read(record.name, member.name);
  if (kept !== undefined) strays.delete(kept.tag);
  return strays;
}

/** Removes stray snapshots, through QEMU if the member is running. @returns their tags */
export async function dropStrays(
  ports: StrayPorts & Pick<Ports, 'monitor' | 'images'>,
  record: FleetRecord,
  member: ObservedMember,
  isRunning = isOn(member.domain),
): Promise<string[]> {
  // A pending save appears in the disks when it is complete.
  if (isRunning) await ports.monitor.settle(member.name, memoryBytesOf(record));
  const tags = [...(await findStrays(ports, record, member)).keys()];
  const paths = diskPaths(ports, record, member);
  for (const tag of tags) {
    if (isRunning) await ports.monitor.drop(member.name, tag, paths);
    else for (const path of paths) await ports.images.dropSnapshot(path, tag);
  }
  return tags;
}

/** Removes stray snapshots before a member starts. If its record cannot be read, it starts with all its snapshots.
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

/** Paths of all disks of a member, the root disk first. */
export function diskPaths(ports: Pick<Ports, 'fleets'>, record: FleetRecord, member: Pick<MemberIdentity, 'name'>): string[] {
  const { disk } = ports.fleets.files(record.name, member.name);
  return memberDisks(record, member).map(({ stem }) => disk(stem));
}

export function memoryBytesOf({ spec }: Pick<FleetRecord, 'spec'>): number {
  return spec.memoryMiB * 2 ** 20;
}
