import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { Ipv4Address } from '../../core/guest/values.js';
import type { Ports, SshEndpoint, SshFiles } from '../../ports/index.js';
import { type FleetReads, loadFleet } from '../fleet/access.js';
import { runningMembers } from '../fleet/members.js';
import { Endpoints } from './endpoints.js';

/** How to reach the guests of a fleet. Each engine knows that in its own way. */
export interface GuestEndpoints {
  /** The member's address as seen from this host; undefined if it is not known. */
  host(member: MemberIdentity): Promise<{ host: Ipv4Address; port: number } | undefined>;
  /** @throws GUEST_UNREACHABLE if the member has no address */
  ssh(member: MemberIdentity): Promise<SshEndpoint>;
  sshFiles(member: MemberIdentity): Promise<SshFiles>;
}

export interface FleetGuests {
  record: FleetRecord;
  /** Names of running members. */
  running: ReadonlySet<string>;
  endpoints: GuestEndpoints;
}

/** @throws FLEET_NOT_FOUND */
export type OpenGuests = (fleet: string) => Promise<FleetGuests>;

/** The ports of the services that work inside guests. */
export type GuestPorts = FleetReads & Pick<Ports, 'readFile' | 'agent' | 'remote' | 'files' | 'clock'>;

/** The guests on this host. */
export function localGuests(ports: Ports): OpenGuests {
  return async (fleet) => {
    const record = await loadFleet(ports, fleet);
    return { record, running: new Set((await runningMembers(ports, record)).keys()), endpoints: new Endpoints(ports, record) };
  };
}
