import { CowherdError } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { type DomainState, isOn } from '../../core/fleet/observation.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { selectMembers } from '../../core/fleet/selection/selection.js';
import type { Ports } from '../../ports/index.js';
import { type FleetReads, loadFleet } from './access.js';

/** Finds the member that was named, for verbs that work inside guests. */

export interface FoundMember {
  record: FleetRecord;
  member: MemberIdentity;
}

/**
 * One member: `lab-003`, or `lab 3`.
 * @throws BAD_USAGE, FLEET_NOT_FOUND, MEMBER_NOT_FOUND
 */
export async function findMember(ports: FleetReads, words: readonly string[]): Promise<FoundMember> {
  const [first, second] = words;
  const byName = /^(.+)-\d+$/.exec(first ?? '');
  if (first === undefined || words.length > 2 || (second === undefined && byName === null)) {
    throw new CowherdError('BAD_USAGE', first === undefined ? 'No member given' : `${words.join(' ')} is not the name of a member`, {
      hint: 'Name one: lab-003, or lab 3.',
    });
  }
  const record = await loadFleet(ports, second === undefined ? (byName?.[1] ?? first) : first);
  const chosen = selectMembers(record.name, record.members, [second ?? first]);
  const [member] = chosen;
  if (member === undefined || chosen.length > 1)
    throw new CowherdError('BAD_USAGE', `${second} selects ${chosen.length} members; this command takes one`, {
      hint: `Name one, e.g. ${first}-001.`,
    });
  return { record, member };
}

/** Running domains of a fleet's members, by name; only those with the member's UUID. */
export async function runningMembers(ports: Pick<Ports, 'hypervisor'>, record: FleetRecord): Promise<Map<string, DomainState>> {
  const uuids = new Map(record.members.map((member) => [member.name, member.uuid]));
  const domains = await ports.hypervisor.listDomains();
  return new Map(domains.filter((domain) => uuids.get(domain.name) === domain.uuid && isOn(domain)).map((domain) => [domain.name, domain]));
}

export function offError({ name }: Pick<MemberIdentity, 'name'>): CowherdError {
  return new CowherdError('GUEST_UNREACHABLE', `${name} is not running`, {
    hint: `Start it: cowherd start ${name.replace(/-\d+$/, '')} ${name}`,
  });
}

/** @throws GUEST_UNREACHABLE if it is stopped */
export async function assertOn(ports: Pick<Ports, 'hypervisor'>, { record, member }: FoundMember): Promise<void> {
  if (!(await runningMembers(ports, record)).has(member.name)) throw offError(member);
}
