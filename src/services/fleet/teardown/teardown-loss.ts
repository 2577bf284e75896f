import { isForeign } from '../../../core/fleet/foreign-member.js';
import { isOn, judgeMember } from '../../../core/fleet/observation.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import type { Ports } from '../../../ports/index.js';
import { observeWithMarks } from '../access.js';
import { freezeWithoutFleet, intendedRecord } from './teardown.js';

/** What a teardown would remove permanently. */
export interface TeardownLoss {
  fleet: string;
  members: number;
  /** Number of these that are running. */
  running: number;
  /** Bytes that the guests wrote to their overlays. */
  driftBytes: number;
  checkpoints: number;
  /** The source VM of a spawn that was interrupted before the fleet existed. */
  interruptedFrom?: string;
}

/** @throws FLEET_NOT_FOUND, MEMBER_NOT_FOUND */
export async function teardownLoss(ports: Ports, fleet: string, members: readonly string[]): Promise<TeardownLoss> {
  const freeze = await freezeWithoutFleet(ports, fleet);
  if (freeze !== undefined) return { fleet, members: 0, running: 0, driftBytes: 0, checkpoints: 0, interruptedFrom: freeze.domain };
  const record: FleetRecord = await intendedRecord(ports, fleet);
  const chosen = selectMembers(record.name, record.members, members);
  const [observed, checkpoints] = await Promise.all([
    observeWithMarks(ports, { ...record, members: chosen }),
    ports.checkpoints.list(fleet),
  ]);
  // Foreign domains are not removed.
  const own = observed.filter((member) => !isForeign(member, record.id));
  const frozen = (name: string): number => checkpoints.get(name)?.allocatedBytes ?? 0;
  return {
    fleet,
    members: observed.length,
    running: own.filter(({ domain }) => isOn(domain)).length,
    driftBytes: observed.reduce(
      (sum, member) => sum + judgeMember(member, record.freshOverlayBytes + frozen(member.name), undefined).driftBytes,
      0,
    ),
    checkpoints: observed.filter(({ name }) => checkpoints.has(name)).length,
  };
}
