import type { MemberState } from '../../../core/fleet/observation.js';
import { isTroubled } from '../../../core/fleet/selection/member-filter.js';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import type { MemberStatus } from './member-status.js';
import type { FleetStatus, FleetSummary } from './status.js';

/** Filters for the members and fleets of a listing. */

export interface MemberFilter {
  /** Names, numbers and ranges; default: all. */
  members?: readonly string[];
  /** Only members with problems. */
  problems?: boolean;
  states?: ReadonlySet<MemberState> | undefined;
}

/** A status with only some of its members; counts stay those of the whole fleet. @throws MEMBER_NOT_FOUND, BAD_USAGE */
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

/** Fleets with members in one of the states; with `problems`, only fleets with a problem of their own or of a member. */
export function filterFleets(fleets: readonly FleetSummary[], { problems = false, states }: Omit<MemberFilter, 'members'>): FleetSummary[] {
  const has = ({ counts }: FleetSummary, wanted: Iterable<MemberState>): boolean => [...wanted].some((state) => (counts?.[state] ?? 0) > 0);
  return fleets.filter((fleet) => {
    const { problem, counts, unfinished, running } = fleet;
    const isWrong = problem !== null || counts === null || (unfinished !== null && running === null) || has(fleet, ['broken', 'missing']);
    return (!problems || isWrong) && (states === undefined || has(fleet, states));
  });
}
