import type { DomainEvent } from './libvirt-event.js';

/** What `cowherd events` reports: changes of members, from libvirt, and of commands, from the store. */

export type EventKind =
  /** A member's domain: running, paused, shutOff, missing. */
  | 'state'
  /** A member's guest agent: connected, disconnected. */
  | 'agent'
  /** A member's disk request failed, e.g. because the file system is full. */
  | 'disk'
  /** A member's checkpoint: its time, or none. */
  | 'checkpoint'
  /** A member in the running command: done, failed. */
  | 'progress'
  /** A command: running, done, interrupted. */
  | 'command'
  /** The fleet: present, missing. */
  | 'fleet'
  /** This stream: connected to libvirt, or disconnected. */
  | 'connection';

export interface FleetEvent {
  /** ISO date. */
  time: string;
  /** Null for the stream itself. */
  fleet: string | null;
  member: string | null;
  what: EventKind;
  from: string | null;
  to: string | null;
  /** The command that runs in the fleet, if any. Its id is null for commands without a journal. */
  operation: { verb: string; id: string | null } | null;
  /** In libvirt's words, or why it is not known. */
  reason: string | null;
}

export type PowerState = 'running' | 'paused' | 'shutOff' | 'missing';

const lifecycle: Readonly<Record<string, PowerState | undefined>> = {
  Started: 'running',
  Resumed: 'running',
  Suspended: 'paused',
  PMSuspended: 'paused',
  Crashed: 'shutOff',
  Stopped: 'shutOff',
  Undefined: 'missing',
};

/** The change that a lifecycle event stands for; undefined if it is none. @param from the state before */
export function powerChange(event: DomainEvent, from: PowerState): { to: PowerState; reason: string } | undefined {
  if (event.event !== 'lifecycle') return undefined;
  const [verb = '', ...words] = event.detail.split(' ');
  const to = lifecycle[verb];
  // A running domain that is undefined keeps running.
  if (to === 'missing' && from !== 'shutOff') return undefined;
  return to === undefined || to === from ? undefined : { to, reason: words.join(' ').toLowerCase() };
}

/** `state: connected (channel event)`. */
export function agentChange({ event, detail }: DomainEvent): { to: 'connected' | 'disconnected'; reason: string } | undefined {
  const [, state, reason = ''] = /^state: '?(connected|disconnected)'? reason: '?([a-z ]{1,40}?)'?$/.exec(detail) ?? [];
  // At its start, every guest is without an agent.
  if (event !== 'agent-lifecycle' || reason === 'domain started') return undefined;
  if (state !== 'connected' && state !== 'disconnected') return undefined;
  return { to: state, reason };
}

/** A disk request that failed, and what QEMU does. */
export function diskFault({ event, detail }: DomainEvent): { to: string; reason: string } | undefined {
  // `/path (virtio-disk0) pause due to enospc`; the path may be anything.
  const [, action, reason = ''] = / (none|pause|report) due to ([a-z]{0,40})$/.exec(detail) ?? [];
  if (event !== 'io-error-reason' || action === undefined) return undefined;
  return { to: action === 'pause' ? 'paused' : 'reported', reason: reason === '' ? 'I/O error' : reason };
}
