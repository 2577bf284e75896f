import { isForeign } from '../../core/fleet/foreign-member.js';
import { isOn, judgeMember } from '../../core/fleet/observation.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { selectMembers } from '../../core/fleet/selection.js';
import type { Ports } from '../../ports/index.js';
import { observeWithMarks } from './access.js';
import { loneFreeze, meantFleet } from './teardown.js';

/** What a teardown would remove for good. */
export interface TeardownLoss {
  fleet: string;
  members: number;
  /** Of these, how many are on. */
  running: number;
  /** Bytes that the guests have written since their overlays were fresh. */
  driftBytes: number;
  checkpoints: number;
  /** The golden VM of a spawn that was interrupted before there was a fleet. */
  interruptedFrom?: string;
}

/** @throws FLEET_NOT_FOUND, MEMBER_NOT_FOUND */
export async function teardownLoss(ports: Ports, fleet: string, members: readonly string[]): Promise<TeardownLoss> {
  const freeze = await loneFreeze(ports, fleet);
  if (freeze !== undefined) return { fleet, members: 0, running: 0, driftBytes: 0, checkpoints: 0, interruptedFrom: freeze.domain };
  const record: FleetRecord = await meantFleet(ports, fleet);
  const chosen = selectMembers(record.name, record.members, members);
  const [observed, checkpoints] = await Promise.all([
    observeWithMarks(ports, { ...record, members: chosen }),
    ports.checkpoints.list(fleet),
  ]);
  // A domain that is not the member's stays.
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
