import type { Ports } from '../../../ports/index.js';
import { loadFleet } from '../../../services/fleet/access.js';
import type { FoundMember } from '../../../services/fleet/members.js';
import { Refused } from '../refusal.js';

/** @throws FLEET_NOT_FOUND, and Refused if it has no such member */
export async function loadMember(ports: Pick<Ports, 'fleets' | 'memory'>, fleet: string, index: number): Promise<FoundMember> {
  const record = await loadFleet(ports, fleet);
  const member = record.members.find((one) => one.index === index);
  if (member === undefined) throw new Refused(404, 'MEMBER_NOT_FOUND', `Fleet ${fleet} has no member ${index}`);
  return { record, member };
}
