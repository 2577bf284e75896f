import type { MemberMemory } from '../../core/fleet/memory.js';
import type { Field } from '../../core/table-fields.js';
import type { MemberStatus } from '../../services/fleet/status/member-status.js';
import type { FleetStatus, FleetSummary } from '../../services/fleet/status/status.js';
import { bytes, countsLine, duration } from '../terminal/format.js';

/** The columns of status and list. */

export const stateWords: Record<string, string> = { shutOff: 'off' };

/** A member with its fleet: a listing may contain several fleets. */
export type StatusRow = MemberStatus & { fleet: string };

export function statusRows(statuses: readonly FleetStatus[]): StatusRow[] {
  return statuses.flatMap(({ fleet, members }) => members.map((member) => ({ ...member, fleet })));
}

/** A column that shows its value unchanged. */
function plain<T>(key: string, title: string, value: (row: T) => string | number | null): Field<T> {
  return { key, title, value, text: (row) => String(value(row) ?? '-') };
}

function sized<T>(key: string, title: string, value: (row: T) => number | null): Field<T> {
  const text = (row: T): string => {
    const count = value(row);
    return count === null ? '-' : bytes(count);
  };
  return { key, title, value, text, align: 'right' };
}

function ofMemory(key: string, title: string, of: keyof MemberMemory): Field<StatusRow> {
  return sized(key, title, ({ memory }) => memory?.[of] ?? null);
}

export const statusFields = {
  fleet: plain<StatusRow>('fleet', 'FLEET', (row) => row.fleet),
  member: plain<StatusRow>('member', 'MEMBER', (row) => row.name),
  index: { ...plain<StatusRow>('index', 'INDEX', (row) => row.index), align: 'right' },
  state: plain<StatusRow>('state', 'STATE', (row) => stateWords[row.state] ?? row.state),
  uptime: {
    ...plain<StatusRow>('uptime', 'UPTIME', (row) => row.uptimeSeconds),
    text: (row: StatusRow) => (row.uptimeSeconds === null ? '-' : duration(row.uptimeSeconds)),
    align: 'right',
  },
  address: plain<StatusRow>('address', 'ADDRESS', ({ address, sshPort }) => (sshPort === null ? address : `127.0.0.1:${sshPort}`)),
  mac: plain<StatusRow>('mac', 'MAC', (row) => row.mac),
  uuid: plain<StatusRow>('uuid', 'UUID', (row) => row.uuid),
  base: plain<StatusRow>('base', 'BASE', (row) => row.base),
  overlay: sized<StatusRow>('overlay', 'OVERLAY', (row) => row.overlayBytes),
  drift: sized<StatusRow>('drift', 'DRIFT', (row) => row.driftBytes),
  resident: ofMemory('resident', 'RESIDENT', 'residentBytes'),
  proportional: ofMemory('proportional', 'PROPORTIONAL', 'proportionalBytes'),
  swap: ofMemory('swap', 'SWAP', 'swapBytes'),
  merged: ofMemory('merged', 'MERGED', 'mergedBytes'),
  checkpoint: {
    ...plain<StatusRow>('checkpoint', 'CHECKPOINT', (row) => row.checkpointAt),
    text: ({ checkpointAt }: StatusRow) => (checkpointAt === null ? '-' : checkpointAt.slice(0, 16).replace('T', ' ')),
  },
  reason: plain<StatusRow>('reason', 'REASON', ({ problems, reason }) => (problems.length > 0 ? problems.join('; ') : reason)),
} satisfies Record<string, Field<StatusRow>>;

/** Default columns: memory only if it was read, swapped and merged memory only if there is some. */
export function usualStatusFields({ newerBase, memory, members }: FleetStatus): Array<Field<StatusRow>> {
  const { member, state, uptime, address, base, overlay, drift, resident, proportional, swap, merged, checkpoint, reason } = statusFields;
  return [
    ...[member, state, uptime],
    ...(members.some((one) => one.address !== null || one.sshPort !== null) ? [address] : []),
    ...(newerBase === null ? [] : [base]),
    ...[overlay, drift],
    ...(memory === undefined ? [] : [resident, proportional]),
    ...((memory?.swapBytes ?? 0) > 0 ? [swap] : []),
    ...((memory?.mergedBytes ?? 0) > 0 ? [merged] : []),
    ...(members.some(({ checkpointAt }) => checkpointAt !== null) ? [checkpoint] : []),
    reason,
  ];
}

const count = (key: keyof NonNullable<FleetSummary['counts']>, name: string): Field<FleetSummary> => ({
  ...plain<FleetSummary>(name, name.toUpperCase(), ({ counts }) => counts?.[key] ?? null),
  align: 'right',
});

export const fleetFields = {
  fleet: plain<FleetSummary>('fleet', 'FLEET', (row) => row.fleet),
  members: { ...plain<FleetSummary>('members', 'MEMBERS', (row) => row.members), align: 'right' },
  base: plain<FleetSummary>('base', 'BASE', (row) => row.base),
  overlays: sized<FleetSummary>('overlays', 'OVERLAYS', (row) => row.overlayBytes),
  running: count('running', 'running'),
  off: count('shutOff', 'off'),
  paused: count('paused', 'paused'),
  broken: count('broken', 'broken'),
  missing: count('missing', 'missing'),
  state: plain<FleetSummary>('state', 'STATE', ({ counts, running, unfinished, problem }) =>
    [
      counts === null ? undefined : countsLine(counts, stateWords),
      running === null ? undefined : `${running} in progress`,
      unfinished === null || running !== null ? undefined : `unfinished ${unfinished}`,
      problem ?? undefined,
    ]
      .filter((part) => part !== undefined)
      .join('; '),
  ),
} satisfies Record<string, Field<FleetSummary>>;
