import type { VNode } from 'preact';
import { stateWord } from '../../../core/events/event-text.js';
import type { MemberView, MemoryView } from '../../protocol.js';
import { isTroubled, levelCounts, type Shade, scaleOf } from '../store/levels.js';
import { countStates, stateLetters, states } from '../text/words.js';

interface LegendProps {
  members: readonly MemberView[];
  shade: Shade;
  memory: MemoryView | null;
}

interface Entry {
  color: string;
  text: string;
  label: string;
  count: number;
}

/** What the colors and letters of the cells mean, and how many cells have each. */
export function GridLegend(props: LegendProps): VNode {
  return (
    <ul class="legend" aria-label="Legend">
      {entries(props).map(({ color, text, label, count }) => (
        <li key={label}>
          <span class={`c ${color}`} aria-hidden="true">
            {text}
          </span>{' '}
          {label} <span class="note">{count}</span>
        </li>
      ))}
    </ul>
  );
}

function entries({ members, shade, memory }: LegendProps): Entry[] {
  const scale = scaleOf(shade, members, memory);
  const counts = countStates(members);
  const colors =
    scale === null
      ? states.map((state) => ({ color: `s-${state}`, text: stateLetters[state], label: stateWord(state), count: counts[state] }))
      : levelCounts(scale, members).map(({ level, label, count }) => ({
          color: level === null ? 'none' : `l${level}`,
          text: level === null ? '-' : String(level),
          label,
          count,
        }));
  const count = (test: (member: MemberView) => boolean): number => members.reduce((sum, member) => sum + (test(member) ? 1 : 0), 0);
  const marks = [
    ...(scale === null ? [] : [{ color: 'l0 bad', text: '!', label: 'has a problem', count: count(isTroubled) }]),
    { color: 'none p-done', text: '', label: 'done in the running command', count: count(({ progress }) => progress === 'done') },
    { color: 'none p-failed', text: '', label: 'failed in it', count: count(({ progress }) => progress === 'failed') },
  ];
  return [...colors, ...marks.filter((mark) => mark.count > 0)];
}
