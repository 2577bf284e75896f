import { formatBaseRef } from '../../../core/image/base.js';
import type { MemberStatus } from '../../../services/fleet/status/member-status.js';
import type { FleetStatus } from '../../../services/fleet/status/status.js';
import type { FleetView, MemberView } from '../../protocol.js';

export type FleetHead = Omit<FleetView, 'members'>;

/** Times of a start that differ by less are the same: uptimes are whole seconds. */
const sameStartMs = 3_000;

/** @param before the row so far @param now milliseconds since the epoch, when the status was read */
export function memberRow(status: MemberStatus, before: MemberView | undefined, now: number): MemberView {
  return {
    index: status.index,
    name: status.name,
    state: status.state,
    reason: status.reason,
    hasAgent: status.state === 'running' || status.state === 'paused' ? (before?.hasAgent ?? null) : false,
    // This host reports both.
    overlayBytes: status.overlayBytes ?? 0,
    driftBytes: status.driftBytes ?? 0,
    address: status.address,
    sshPort: status.sshPort,
    checkpointAt: status.checkpointAt,
    startedAt: startedAt(status.uptimeSeconds, before?.startedAt ?? null, now),
    base: status.base,
    isOutdated: status.outdated,
    problems: status.problems,
    hint: status.hint,
    progress: before?.progress ?? null,
  };
}

function startedAt(uptimeSeconds: number | null, before: string | null, now: number): string | null {
  if (uptimeSeconds === null) return null;
  const time = now - uptimeSeconds * 1000;
  return before !== null && Math.abs(Date.parse(before) - time) < sameStartMs ? before : new Date(time).toISOString();
}

export function fleetHead(status: FleetStatus, before: FleetHead | undefined, failed: number): FleetHead {
  return {
    fleet: status.fleet,
    base: formatBaseRef(status.base),
    newerBase: status.newerBase,
    problem: status.base.problem,
    savings: before?.savings ?? null,
    operation: operationOf(status, failed),
  };
}

function operationOf({ unfinished, lock }: FleetStatus, failed: number): FleetView['operation'] {
  if (unfinished !== undefined) {
    const { verb, done, total, pid } = unfinished;
    return { verb, done, failed, total, isInterrupted: pid === null };
  }
  if (lock?.isRun !== true) return null;
  return { verb: lock.verb ?? 'a command', done: 0, failed: 0, total: 0, isInterrupted: false };
}
