import type { FleetEvent } from '../../../core/events/fleet-event.js';
import type { FleetStatus } from '../../../services/fleet/status/status.js';
import type { FleetView, MemberView } from '../../protocol.js';
import type { Herd, Shown } from './herd.js';
import { type FleetHead, fleetHead, memberRow } from './rows.js';

/** Brings events and readings together: an event is newer than a reading that began before it. */
export class Updates {
  readonly #herd: Herd;
  readonly #monotonic: () => number;
  /** When an event last changed the state of a member, by name. */
  readonly #touched = new Map<string, number>();

  constructor(herd: Herd, monotonic: () => number) {
    this.#herd = herd;
    this.#monotonic = monotonic;
  }

  /** @returns whether the fleet must be read again */
  event(event: FleetEvent): boolean {
    const { fleet, member, what, to, reason } = event;
    if (what === 'connection') {
      const isConnected = to === 'connected';
      this.#herd.setLibvirt({ isConnected, reason: isConnected ? null : (reason ?? 'libvirt cannot be reached') });
      return false;
    }
    const shown = fleet === null ? undefined : this.#herd.fleet(fleet);
    if (fleet === null || shown === undefined) return true;
    if (member === null) {
      if (what === 'command') this.#command(shown, event);
      return true;
    }
    const row = shown.members.get(shown.names.get(member) ?? 0);
    if (row === undefined) return true;
    if (what === 'state') this.#touched.set(member, this.#monotonic());
    const changed = changedRow(row, event);
    if (changed !== undefined) this.#herd.setMember(fleet, changed);
    if (what === 'progress') this.#progress(shown, row, event);
    return what !== 'agent' || to === 'connected';
  }

  /** @param began clock.monotonic() before the status was read @param now milliseconds since the epoch */
  status(status: FleetStatus, began: number, now: number): void {
    const { fleet } = status;
    const shown = this.#herd.fleet(fleet);
    const rows = status.members.map((member): MemberView => {
      const before = shown?.members.get(member.index);
      const row = memberRow(member, before, now);
      const isNewer = (this.#touched.get(member.name) ?? Number.NEGATIVE_INFINITY) > began;
      if (!isNewer) this.#touched.delete(member.name);
      if (!isNewer || before === undefined) return row;
      return { ...row, state: before.state, reason: before.reason, startedAt: before.startedAt, hasAgent: before.hasAgent };
    });
    const failed = rows.filter(({ progress }) => progress === 'failed').length;
    const head = fleetHead(status, shown?.head, failed);
    this.#herd.setHead(head);
    const isIdle = head.operation === null;
    for (const row of rows) this.#herd.setMember(fleet, isIdle && row.progress !== null ? { ...row, progress: null } : row);
    const present = new Set(rows.map(({ index }) => index));
    for (const index of shown?.members.keys() ?? []) if (!present.has(index)) this.#herd.removeMember(fleet, index);
  }

  /** A fleet that cannot be read keeps its rows. */
  problem(fleet: string, problem: string): void {
    const head = this.#herd.fleet(fleet)?.head ?? emptyHead(fleet);
    this.#herd.setHead({ ...head, problem });
  }

  savings(fleet: string, savings: FleetView['savings']): void {
    const head = this.#herd.fleet(fleet)?.head;
    if (head !== undefined) this.#herd.setHead({ ...head, savings });
  }

  clear(): void {
    this.#touched.clear();
    this.#herd.clear();
  }

  #command({ head, members }: Readonly<Shown>, { to, operation }: FleetEvent): void {
    if (to === 'interrupted') {
      if (head.operation !== null) this.#herd.setHead({ ...head, operation: { ...head.operation, isInterrupted: true } });
      return;
    }
    // Members of an earlier command.
    for (const row of [...members.values()]) if (row.progress !== null) this.#herd.setMember(head.fleet, { ...row, progress: null });
    const verb = operation?.verb ?? 'a command';
    this.#herd.setHead({
      ...head,
      operation: to === 'running' ? { verb, done: 0, failed: 0, total: 0, isInterrupted: false } : null,
    });
  }

  #progress({ head }: Readonly<Shown>, before: MemberView, { to }: FleetEvent): void {
    const { operation } = head;
    if (operation === null || before.progress === to) return;
    const [done, failed] = to === 'done' ? [1, before.progress === 'failed' ? -1 : 0] : [0, 1];
    const sum = { done: operation.done + done, failed: operation.failed + failed };
    const total = operation.total === 0 ? 0 : Math.max(operation.total, sum.done);
    this.#herd.setHead({ ...head, operation: { ...operation, ...sum, total } });
  }
}

function changedRow(row: MemberView, { what, to, reason, time }: FleetEvent): MemberView | undefined {
  if (what === 'agent') return { ...row, hasAgent: to === 'connected' };
  if (what === 'checkpoint') return { ...row, checkpointAt: to };
  if (what === 'progress' && (to === 'done' || to === 'failed')) return { ...row, progress: to };
  if (what !== 'state') return undefined;
  // What is wrong with a broken member is found by reading it.
  const state = row.state === 'broken' && to !== 'missing' ? 'broken' : (to as MemberView['state']);
  const wasOn = row.startedAt !== null;
  const isOn = to === 'running' || to === 'paused';
  return {
    ...row,
    state,
    reason: reason ?? row.reason,
    startedAt: isOn ? (wasOn ? row.startedAt : time) : null,
    hasAgent: isOn && wasOn ? row.hasAgent : false,
  };
}

function emptyHead(fleet: string): FleetHead {
  return { fleet, base: '', newerBase: null, problem: null, savings: null, operation: null };
}
