import { isTroubled } from '../../core/fleet/member-filter.js';
import type { MemberState } from '../../core/fleet/observation.js';
import { selectMembers } from '../../core/fleet/selection.js';
import type { FleetStatus, FleetSummary, MemberStatus } from './status.js';

/** Which members and fleets a listing shows. */

export interface MemberFilter {
  /** Names, numbers and ranges; all where there are none. */
  members?: readonly string[];
  /** Only members with which something is wrong. */
  problems?: boolean;
  states?: ReadonlySet<MemberState> | undefined;
}

/** A status with only some of its members; what it says of the fleet stays that of all. @throws MEMBER_NOT_FOUND, BAD_USAGE */
export function filterStatus(whole: FleetStatus, { members = [], problems = false, states }: MemberFilter): FleetStatus {
  const chosen = new Set(selectNames(whole, members));
  const isShown = (member: MemberStatus): boolean =>
    chosen.has(member.name) && (!problems || isTroubled(member)) && (states === undefined || states.has(member.state));
  return { ...whole, members: whole.members.filter(isShown) };
}

function selectNames({ fleet, members }: FleetStatus, words: readonly string[]): string[] {
  const identities = members.map(({ index, name, uuid, mac }) => ({ index, name, uuid, macs: [mac] }));
  return selectMembers(fleet, identities, words).map(({ name }) => name);
}

/** Fleets with members in one of the states; of those, with problems, where something is wrong with the fleet or with a member. */
export function filterFleets(fleets: readonly FleetSummary[], { problems = false, states }: Omit<MemberFilter, 'members'>): FleetSummary[] {
  const has = ({ counts }: FleetSummary, wanted: Iterable<MemberState>): boolean => [...wanted].some((state) => (counts?.[state] ?? 0) > 0);
  return fleets.filter((fleet) => {
    const { problem, counts, unfinished, running } = fleet;
    const isWrong = problem !== null || counts === null || (unfinished !== null && running === null) || has(fleet, ['broken', 'missing']);
    return (!problems || isWrong) && (states === undefined || has(fleet, states));
  });
}
