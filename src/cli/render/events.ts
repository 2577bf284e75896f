import type { FleetEvent } from '../../core/events/fleet-event.js';

/** `16:20:01  lab-003  running → shutOff (shutdown) · reset` */
export function renderEvent({ time, fleet, member, what, from, to, operation, reason }: FleetEvent): string {
  const subject = member ?? fleet ?? 'libvirt';
  const label = labels[what];
  const change = from === null || what === 'checkpoint' ? word(to ?? 'removed') : `${word(from)} → ${word(to ?? 'none')}`;
  const verb = operation === null ? '' : what === 'command' ? `${operation.verb} ` : '';
  const during = operation === null || what === 'command' ? '' : ` · ${operation.verb}`;
  return `${clockTime(time)}  ${subject}  ${label}${verb}${change}${reason === null || reason === 'unknown' ? '' : ` (${reason})`}${during}`;
}

/** As in the table of `status`. */
function word(state: string): string {
  return state === 'shutOff' ? 'off' : state;
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

function clockTime(time: string): string {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}
