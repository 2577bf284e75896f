import type { MemberIdentity } from '../../../core/fleet/identity.js';
import type { DomainState, ObservedMember } from '../../../core/fleet/observation.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { markOf } from './member-tags.js';
import { oldestFirst, type Server } from './servers.js';

/** A member with its server. */
export interface NovaMember extends ObservedMember {
  server: Server | undefined;
  /** Further servers with its mark: of a request that was believed lost, or of a command that was killed. */
  extra: readonly Server[];
}

export interface ObservedFleet {
  members: NovaMember[];
  /** Servers with the fleet's mark for a member that the record does not have. */
  orphans: Server[];
  /** Servers with the fleet's tag that belong to another fleet of that name, or whose tags and metadata disagree. */
  foreign: Server[];
}

/** @param servers all with the tag of the fleet's name */
export function observeServers({ id, members }: Pick<FleetRecord, 'id' | 'members'>, servers: readonly Server[]): ObservedFleet {
  const byIndex = new Map<number, Server[]>();
  const foreign: Server[] = [];
  for (const server of oldestFirst(servers)) {
    const mark = markOf(server);
    if (mark === undefined || mark.fleetId !== id) foreign.push(server);
    else byIndex.set(mark.index, [...(byIndex.get(mark.index) ?? []), server]);
  }
  const known = new Set(members.map(({ index }) => index));
  return {
    members: members.map((member) => withServer(member, byIndex.get(member.index) ?? [])),
    orphans: [...byIndex].filter(([index]) => !known.has(index)).flatMap(([, of]) => of),
    foreign,
  };
}

function withServer(member: MemberIdentity, servers: readonly Server[]): NovaMember {
  const [server, ...extra] = [...servers].sort((a, b) => lack(a) - lack(b));
  return { ...member, server, extra, domain: server === undefined ? undefined : stateOf(member, server), overlayBytes: undefined };
}

/** A server with a disk is preferred to those without one: nothing that a guest wrote is surplus. Of equal ones, the oldest counts. */
function lack(server: Server): number {
  if (isDeleting(server)) return 2;
  return server.status === 'BUILD' || neverRan(server) ? 1 : 0;
}

function stateOf({ name, uuid }: MemberIdentity, { status, taskState }: Server): DomainState {
  const state = states[status] ?? 'other';
  return { name, uuid, state, reason: taskState ?? status.toLowerCase().replaceAll('_', ' ') };
}

const states: Readonly<Record<string, DomainState['state']>> = {
  ACTIVE: 'running',
  PASSWORD: 'running',
  REBOOT: 'running',
  HARD_REBOOT: 'running',
  PAUSED: 'paused',
  SUSPENDED: 'paused',
  SHUTOFF: 'shutOff',
  SHELVED: 'shutOff',
  SHELVED_OFFLOADED: 'shutOff',
};

export function isDeleting({ taskState, status }: Pick<Server, 'taskState' | 'status'>): boolean {
  return taskState === 'deleting' || taskState === 'soft-deleting' || status === 'SOFT_DELETED';
}

/** Whether a server never got a host: it has no disk, and nothing is lost if it is replaced. One that was shelved has no host, either. */
export function neverRan({
  status,
  hostId,
  taskState,
  wasLaunched,
}: Pick<Server, 'status' | 'hostId' | 'taskState' | 'wasLaunched'>): boolean {
  return status === 'ERROR' && hostId === '' && taskState === null && !wasLaunched;
}
