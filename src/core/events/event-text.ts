import type { FleetEvent } from './fleet-event.js';

/** An event in words, in parts. */
export interface EventText {
  subject: string;
  change: string;
  /** In libvirt's words; null if it is not known. */
  reason: string | null;
  /** The command that ran meanwhile; null if the event is about a command. */
  during: string | null;
}

const labels: Record<FleetEvent['what'], string> = {
  state: '',
  agent: 'agent ',
  disk: 'disk error: ',
  checkpoint: 'checkpoint ',
  progress: '',
  command: '',
  fleet: 'fleet ',
  connection: '',
};

export function eventText({ fleet, member, what, from, to, operation, reason }: FleetEvent): EventText {
  const isCommand = what === 'command';
  const change = from === null || what === 'checkpoint' ? stateWord(to ?? 'removed') : `${stateWord(from)} → ${stateWord(to ?? 'none')}`;
  return {
    subject: member ?? fleet ?? 'libvirt',
    change: `${labels[what]}${isCommand && operation !== null ? `${operation.verb} ` : ''}${change}`,
    reason: reason === 'unknown' ? null : reason,
    during: isCommand ? null : (operation?.verb ?? null),
  };
}

/** As in the table of `status`. */
export function stateWord(state: string): string {
  return state === 'shutOff' ? 'off' : state;
}
