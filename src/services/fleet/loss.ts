import { isForeign } from '../../core/fleet/foreign-member.js';
import { isOn, judgeMember } from '../../core/fleet/observation.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { selectMembers } from '../../core/fleet/selection/selection.js';
import type { Ports } from '../../ports/index.js';
import { loadFleet, observeWithMarks } from './access.js';

/** What a command would discard permanently. */
export interface Loss {
  members: number;
  /** Number of these that are running. */
  running: number;
  /** Bytes that the guests wrote to their overlays; null if the platform does not report it. */
  driftBytes: number | null;
  checkpoints: number;
}

/** On this host. */
export type MeasuredLoss = Loss & { driftBytes: number };

/** What is lost if members lose their disks. @param restored members that return to their checkpoints, which are kept */
export async function lossOf(
  ports: Ports,
  fleet: string,
  members: readonly string[],
  restored?: ReadonlySet<string>,
): Promise<MeasuredLoss> {
  return lossInRecord(ports, await loadFleet(ports, fleet), members, restored);
}

export async function lossInRecord(
  ports: Ports,
  record: FleetRecord,
  members: readonly string[],
  restored: ReadonlySet<string> = new Set(),
): Promise<MeasuredLoss> {
  const chosen = selectMembers(record.name, record.members, members);
  const [observed, checkpoints] = await Promise.all([
    observeWithMarks(ports, { ...record, members: chosen }),
    ports.checkpoints.list(record.name),
  ]);
  // Foreign domains are not touched.
  const own = observed.filter((member) => !isForeign(member, record.id));
  const frozen = (name: string): number => checkpoints.get(name)?.allocatedBytes ?? 0;
  return {
    members: observed.length,
    running: own.filter(({ domain }) => isOn(domain)).length,
    driftBytes: observed.reduce(
      (sum, member) => sum + judgeMember(member, record.freshOverlayBytes + frozen(member.name), undefined).driftBytes,
      0,
    ),
    checkpoints: observed.filter(({ name }) => checkpoints.has(name) && !restored.has(name)).length,
  };
}
