import { eventText } from '../../core/events/event-text.js';
import type { FleetEvent } from '../../core/events/fleet-event.js';

/** `16:20:01  lab-003  running → off (shutdown) · reset` */
export function renderEvent(event: FleetEvent): string {
  const { subject, change, reason, during } = eventText(event);
  return `${clockTime(event.time)}  ${subject}  ${change}${reason === null ? '' : ` (${reason})`}${during === null ? '' : ` · ${during}`}`;
}

function clockTime(time: string): string {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}
