import type { FleetEvent } from '../../../core/events/fleet-event.js';
import { stateWord } from './words.js';

/** What `cowherd events` prints for an event, in parts. */
export interface EventText {
  subject: string;
  change: string;
  /** libvirt's reason, and the command during which it happened. */
  about: string;
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
  const change = from === null || what === 'checkpoint' ? stateWord(to ?? 'removed') : `${stateWord(from)} → ${stateWord(to ?? 'none')}`;
  const verb = operation !== null && what === 'command' ? `${operation.verb} ` : '';
  const during = operation === null || what === 'command' ? [] : [`during ${operation.verb}`];
  const why = reason === null || reason === 'unknown' ? [] : [reason];
  return { subject: member ?? fleet ?? 'libvirt', change: `${labels[what] ?? ''}${verb}${change}`, about: [...why, ...during].join(', ') };
}
