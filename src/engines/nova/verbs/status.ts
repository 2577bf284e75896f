import { reportOf } from '../../../core/errors.js';
import type { MemberState } from '../../../core/fleet/observation.js';
import { baseOf } from '../../../core/fleet/record.js';
import { excerpt } from '../../../core/guest/text.js';
import { formatBaseRef } from '../../../core/image/base.js';
import { lockStatus } from '../../../core/lock.js';
import type { MemberStatus } from '../../../services/fleet/status/member-status.js';
import { type FleetStatus, type FleetSummary, readUnfinished } from '../../../services/fleet/status/status.js';
import type { NovaContext } from '../context.js';
import { addressOf } from '../core/addresses.js';
import { managedTag } from '../core/member-tags.js';
import { type NovaMember, neverRan, type ObservedFleet, observeServers } from '../core/members.js';
import type { Server } from '../core/servers.js';
import { observeFleet } from './observe.js';
import { intendedFleet, type NovaRecord } from './record.js';

/** The state of a fleet, from one list of its servers. */
export async function status(context: NovaContext, fleet: string): Promise<FleetStatus> {
  const record = await intendedFleet(context, fleet);
  return describe(context, record, await observeFleet(context, record), await imageProblems(context, record));
}

async function describe(
  { ports }: NovaContext,
  record: NovaRecord,
  found: ObservedFleet,
  problemOf: ReadonlyMap<string, string>,
): Promise<FleetStatus> {
  const holder = await ports.fleets.holder(record.name);
  const unfinished = await readUnfinished(ports, record.name, holder);
  const now = ports.clock.now().getTime();
  const members = found.members.map((member) =>
    memberStatus({ record, problemOf, now, hostAddresses: ports.networks.hostAddresses() }, member),
  );
  const counts: Record<MemberState, number> = { running: 0, shutOff: 0, paused: 0, broken: 0, missing: 0 };
  for (const { state } of members) counts[state]++;
  const [problem = null] = problemOf.values();
  return {
    fleet: record.name,
    base: { ...record.base, problem: problem ?? surplusProblem(found) },
    newerBase: members.some(({ outdated }) => outdated) ? formatBaseRef(record.base) : null,
    counts,
    ...(unfinished === undefined ? {} : { unfinished }),
    ...(holder === undefined ? {} : { lock: lockStatus(holder) }),
    members,
  };
}

function surplusProblem({ orphans }: ObservedFleet): string | null {
  return orphans.length === 0 ? null : `${orphans.length} servers of this fleet are not in its record: see "cowherd verify"`;
}

/** Since when a task has not changed, before it counts as stuck. In milliseconds. */
const stuckMs = 15 * 60_000;

interface Readings {
  record: NovaRecord;
  problemOf: ReadonlyMap<string, string>;
  /** ms since the epoch */
  now: number;
  hostAddresses: ReadonlySet<string>;
}

function memberStatus({ record, problemOf, now, hostAddresses }: Readings, member: NovaMember): MemberStatus {
  const { index, name, server } = member;
  const base = baseOf(record, member);
  const state: MemberState =
    server === undefined ? 'missing' : member.domain?.state === 'other' ? 'broken' : (member.domain?.state ?? 'broken');
  const problems = [
    ...(server === undefined ? ['it has no server'] : problemsOf(server, now)),
    ...(problemOf.get(base.digest) ? ['image is not usable'] : []),
  ];
  if (member.extra.length > 0) problems.push(`it has ${member.extra.length + 1} servers`);
  return {
    ...{ index, name, uuid: server?.id ?? '', mac: server?.addresses[0]?.mac ?? '' },
    address: server === undefined ? null : (addressOf(server, hostAddresses) ?? null),
    sshPort: null,
    state,
    reason: server === undefined ? 'never created, or deleted' : excerpt(member.domain?.reason ?? ''),
    ...{ overlayBytes: null, driftBytes: null, checkpointAt: null, uptimeSeconds: null },
    base: formatBaseRef(base),
    outdated: base.digest !== record.base.digest,
    problems,
    hint: hintOf(record.name, member),
  };
}

function problemsOf({ status, fault, taskState, updated }: Server, now: number): string[] {
  if (status === 'ERROR') return [fault === undefined ? 'in state ERROR' : `in state ERROR: ${excerpt(fault)}`];
  const since = now - Date.parse(updated);
  return taskState !== null && since > stuckMs ? [`${excerpt(taskState)} since ${Math.round(since / 60_000)} minutes`] : [];
}

function hintOf(fleet: string, { server }: NovaMember): string | null {
  if (server?.status !== 'ERROR') return null;
  return neverRan(server) ? `it found no host: "cowherd spawn ${fleet}" tries again` : `"cowherd reset ${fleet}" gives it a fresh disk`;
}

/** Problems of the fleet's images, by digest. */
async function imageProblems({ cloud }: NovaContext, { placement }: NovaRecord): Promise<Map<string, string>> {
  const problems = new Map<string, string>();
  for (const [digest, id] of Object.entries(placement.images)) {
    try {
      const image = await cloud.images.get(id);
      if (image === undefined) problems.set(digest, `image ${id} no longer exists`);
      else if (image.status !== 'active') problems.set(digest, `image ${id} is ${excerpt(image.status)}`);
      else if (image.hash?.value.startsWith(digest) !== true) problems.set(digest, `image ${id} has another hash than recorded`);
    } catch (error) {
      problems.set(digest, reportOf(error).message);
    }
  }
  return problems;
}

/** All fleets, with one list of all servers. */
export async function listFleets(context: NovaContext): Promise<FleetSummary[]> {
  const { cloud, ports } = context;
  const servers = await cloud.servers.list([managedTag]);
  const summaries: FleetSummary[] = [];
  for (const fleet of await ports.fleets.list()) {
    try {
      const record = await intendedFleet(context, fleet);
      const own = servers.filter(({ metadata }) => metadata['cowherd:fleet'] === fleet);
      const { base, counts, members, unfinished, lock } = await describe(context, record, observeServers(record, own), new Map());
      summaries.push({
        ...{ fleet, members: members.length, base: formatBaseRef(base), counts, overlayBytes: null, problem: base.problem },
        unfinished: unfinished?.verb ?? null,
        running: lock?.isRun ? (lock.verb ?? 'an operation') : null,
      });
    } catch (error) {
      const problem = reportOf(error).message;
      summaries.push({ ...{ fleet, members: 0, base: '', counts: null, overlayBytes: null, unfinished: null, running: null }, problem });
    }
  }
  return summaries;
}
