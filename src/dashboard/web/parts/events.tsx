import type { VNode } from 'preact';
import { eventText } from '../../../core/events/event-text.js';
import type { NumberedEvent } from '../store/herd.js';
import { clockTime, localTime } from '../text/format.js';
import { useThrottled } from './hooks.js';
import { memo } from './memo.js';

const shownEvents = 200;

/** The latest events, the newest first. */
export function EventList({ events, label }: { events: readonly NumberedEvent[]; label: string }): VNode {
  const shown = useThrottled(events, 1000).slice(-shownEvents).reverse();
  if (shown.length === 0) return <p class="note">No events yet.</p>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the list is scrolled with the keyboard
    <section class="scroll events" aria-label={label} tabIndex={0}>
      <ol>
        {shown.map(({ number, event }) => (
          <EventLine key={number} event={event} />
        ))}
      </ol>
    </section>
  );
}

const EventLine = memo(({ event }: Pick<NumberedEvent, 'event'>) => {
  const { subject, change, reason, during } = eventText(event);
  const about = [...(reason === null ? [] : [reason]), ...(during === null ? [] : [`during ${during}`])].join(', ');
  return (
    <li>
      <time dateTime={event.time} title={localTime(event.time)}>
        {clockTime(event.time)}
      </time>
      <strong>{subject}</strong>
      <span>
        {change}
        {about !== '' && <span class="note"> ({about})</span>}
      </span>
    </li>
  );
});
