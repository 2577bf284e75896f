import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { stateWord } from '../../../core/events/event-text.js';
import type { MemberView } from '../../protocol.js';
import { isTroubled } from '../store/levels.js';
import { memberLink } from '../store/route.js';
import { addressOf, type Item } from '../store/rows.js';
import { coverage, type Selection } from '../store/selection.js';
import { bytes, localTime, since } from '../text/format.js';
import { memo } from './memo.js';

interface RowProps {
  fleet: string;
  member: MemberView;
  /** Its position in the whole table. */
  row: number;
  isPicked: boolean;
  now: number;
  pick: (index: number, isRange: boolean) => boolean;
}

export const MemberRow = memo(({ fleet, member, row, isPicked, now, pick }: RowProps) => {
  const { index, name, state, startedAt, driftBytes, overlayBytes, checkpointAt, base, isOutdated, problems, reason, progress } = member;
  return (
    <tr aria-rowindex={row} class={`${isTroubled(member) ? 'bad' : ''}${isPicked ? ' picked' : ''}`}>
      <td class="pick">
        <input
          type="checkbox"
          aria-label={`Select ${name}`}
          checked={isPicked}
          onClick={(event) => {
            event.currentTarget.checked = pick(index, event.shiftKey);
          }}
        />
      </td>
      <th scope="row" title={name}>
        <a href={memberLink(fleet, index)}>{name}</a>
      </th>
      <td>
        <StateBadge state={state} />
        {progress !== null && <span class={`mark ${progress}`}> {progress}</span>}
      </td>
      <td class="n">{since(startedAt, now) || '-'}</td>
      <td>{addressOf(member) ?? '-'}</td>
      <td class="n">{bytes(driftBytes)}</td>
      <td class="n">{bytes(overlayBytes)}</td>
      <td>{checkpointAt === null ? '-' : localTime(checkpointAt).slice(0, 16)}</td>
      <td title={base}>
        {base}
        {isOutdated && ' (outdated)'}
      </td>
      <td class="why" title={problems.join('; ')}>
        {problems.length > 0 ? problems.join('; ') : reason}
      </td>
    </tr>
  );
});

export function StateBadge({ state }: Pick<MemberView, 'state'>): VNode {
  return (
    <span class="state">
      <span class={`dot s-${state}`} aria-hidden="true" /> {stateWord(state)}
    </span>
  );
}

interface GroupProps {
  item: Extract<Item, { kind: 'group' }>;
  row: number;
  columns: number;
  selection: Selection;
  onPick: () => void;
}

export function GroupRow({ item: { key, indexes }, row, columns, selection, onPick }: GroupProps): VNode {
  const name = stateWord(key);
  return (
    <tr aria-rowindex={row} class="group">
      <td class="pick">
        <SelectSome indexes={indexes} selection={selection} label={`Select the members of the group ${name}`} onPick={onPick} />
      </td>
      <th scope="rowgroup" colSpan={columns - 1}>
        {name} <span class="note">{indexes.length}</span>
      </th>
    </tr>
  );
}

interface SelectProps {
  indexes: readonly number[];
  selection: Selection;
  label: string;
  onPick: () => void;
}

/** A checkbox for several members: all, some or none of them are selected. */
export function SelectSome({ indexes, selection, label, onPick }: SelectProps): VNode {
  const box = useRef<HTMLInputElement>(null);
  const of = coverage(selection, indexes);
  useEffect(() => {
    if (box.current !== null) box.current.indeterminate = of === 'some';
  }, [of]);
  return <input ref={box} type="checkbox" aria-label={label} checked={of === 'all'} disabled={indexes.length === 0} onClick={onPick} />;
}
