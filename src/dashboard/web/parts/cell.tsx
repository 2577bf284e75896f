import { stateWord } from '../../../core/events/event-text.js';
import type { MemberView } from '../../protocol.js';
import { isTroubled, type Shade } from '../store/levels.js';
import { bytes } from '../text/format.js';
import { stateLetters } from '../text/words.js';
import { memo } from './memo.js';

interface CellProps {
  member: MemberView;
  shade: Shade;
  /** 0 to 5; null if the color is that of the state, or the value is unknown. */
  level: number | null;
  value: number | null;
  isPicked: boolean;
  isTabStop: boolean;
}

/** One member: a color, and a letter or digit that says the same. */
export const Cell = memo(({ member, shade, level, value, isPicked, isTabStop }: CellProps) => {
  const { index, name, state, progress, problems } = member;
  const isBad = isTroubled(member);
  const color = shade === 'state' ? `s-${state}` : level === null ? 'none' : `l${level}`;
  const text = shade === 'state' ? stateLetters[state] : isBad ? '!' : (level ?? '-');
  const label = [
    `${name}: ${stateWord(state)}`,
    ...(shade === 'state' ? [] : [`${shade} ${value === null ? 'unknown' : `${bytes(value)}, level ${level}`}`]),
    ...(progress === null ? [] : [`${progress} in the running command`]),
    ...problems,
  ].join(', ');
  return (
    <span
      role="option"
      data-index={index}
      tabIndex={isTabStop ? 0 : -1}
      aria-selected={isPicked}
      aria-label={label}
      class={`c ${color}${isBad ? ' bad' : ''}${progress === null ? '' : ` p-${progress}`}`}
    >
      {text}
    </span>
  );
});
