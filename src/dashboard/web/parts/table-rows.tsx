import type { VNode } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { FleetChoice } from '../store/fleet-choice.js';
import type { Fleet } from '../store/herd.js';
import type { Item } from '../store/rows.js';
import { extend, toggle, toggleAll } from '../store/selection.js';
import { type RowWindow, rowWindow } from '../store/window.js';
import { useNow, useValue } from './hooks.js';
import { GroupRow, MemberRow, SelectSome } from './member-row.js';
import { SortHeaders } from './sort-headers.js';

/** As in table.css. */
const rowHeight = 36;
const widths = ['pick', 'name', 'state', 'uptime', 'address', 'size', 'size', 'time', 'base', 'why'];
const columns = widths.length;

interface RowsProps {
  fleet: Fleet;
  choice: FleetChoice;
  items: readonly Item[];
  /** The members of the items, in their order. */
  listed: readonly number[];
}

/** The table itself. Of a long one, only the rows in view exist. */
export function TableRows({ fleet, choice, items, listed }: RowsProps): VNode {
  const region = useRef<HTMLElement>(null);
  const { from, to, before, after } = useWindow(region, items.length);
  const selection = useValue(choice.selection);
  const order = useRef(listed);
  order.current = listed;
  const pick = useMemo(() => pickIn(choice, order), [choice]);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the table is scrolled with the keyboard
    <section ref={region} class="scroll members" aria-label="Members" tabIndex={0}>
      <table aria-rowcount={items.length + 1} style={{ '--name': `${longestName(fleet)}ch` }}>
        <Columns />
        <thead>
          <tr aria-rowindex={1}>
            <th scope="col" class="pick">
              <SelectSome
                indexes={listed}
                selection={selection}
                label="Select all shown members"
                onPick={() => choice.selection.set(toggleAll(choice.selection.get(), listed))}
              />
            </th>
            <SortHeaders choice={choice} />
            <th scope="col">Reason or problem</th>
          </tr>
        </thead>
        <tbody class="window" style={{ '--before': `${before}px`, '--after': `${after}px` }}>
          <Slice {...{ fleet, choice, items, from, to, pick }} />
        </tbody>
      </table>
      {items.length === 0 && <p class="note empty">No member matches the filter.</p>}
    </section>
  );
}

/** Fixed widths: rows that come into view must not change them. */
function Columns(): VNode {
  return (
    <colgroup>
      {widths.map((width, position) => (
        <col key={position} class={`w-${width}`} />
      ))}
    </colgroup>
  );
}

/** In characters. Names of a fleet differ in their numbers only. */
function longestName({ members }: Fleet): number {
  return Math.max(8, (members[0]?.name ?? '').length, (members.at(-1)?.name ?? '').length);
}

type Pick = (index: number, isRange: boolean) => boolean;

interface SliceProps extends Omit<RowsProps, 'listed'> {
  from: number;
  to: number;
  pick: Pick;
}

function Slice({ fleet, choice, items, from, to, pick }: SliceProps): VNode {
  const selection = useValue(choice.selection);
  const now = useNow();
  const { members } = fleet;
  const byIndex = useMemo(() => new Map(members.map((member) => [member.index, member])), [members]);
  return (
    <>
      {items.slice(from, to).map((item, position) => {
        const row = from + position + 2;
        if (item.kind === 'group')
          return (
            <GroupRow
              key={`group ${item.key}`}
              {...{ item, row, selection, columns }}
              onPick={() => choice.selection.set(toggleAll(choice.selection.get(), item.indexes))}
            />
          );
        const member = byIndex.get(item.index);
        if (member === undefined) return null;
        const isPicked = selection.picked.has(member.index);
        return <MemberRow key={member.index} {...{ fleet: fleet.fleet, member, row, isPicked, now, pick }} />;
      })}
    </>
  );
}

/** Selects a member, or a range of them. @returns whether the member is selected then */
function pickIn({ selection }: FleetChoice, order: { current: readonly number[] }): Pick {
  return (index, isRange) => {
    selection.set(isRange ? extend(selection.get(), index, order.current) : toggle(selection.get(), index));
    return selection.get().picked.has(index);
  };
}

/** Which rows are in view. */
function useWindow(region: { current: HTMLElement | null }, count: number): RowWindow {
  const [[top, height], setView] = useState<[number, number]>([0, 800]);
  useEffect(() => {
    const element = region.current;
    if (element === null) return;
    // Steps of some rows, so that scrolling does not show the table again for every pixel.
    const look = (): void => {
      const next = Math.floor(element.scrollTop / (5 * rowHeight)) * 5 * rowHeight;
      setView((known) => (known[0] === next && known[1] === element.clientHeight ? known : [next, element.clientHeight]));
    };
    const watcher = new ResizeObserver(look);
    watcher.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    return () => {
      watcher.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, []);
  return rowWindow(count, rowHeight, top, height);
}
