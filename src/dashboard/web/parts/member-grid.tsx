import type { VNode } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import type { MemberView, MemoryView } from '../../protocol.js';
import type { FleetChoice } from '../store/fleet-choice.js';
import { nextCell } from '../store/grid-keys.js';
import type { Fleet } from '../store/herd.js';
import { levelOf, type Shade, scaleOf } from '../store/levels.js';
import { observable } from '../store/observable.js';
import { memberLink } from '../store/route.js';
import { extend, toggle } from '../store/selection.js';
import { Cell } from './cell.js';
import { CellDetails } from './cell-details.js';
import { GridLegend } from './grid-legend.js';
import { useValue } from './hooks.js';
import { useMemory } from './use-memory.js';

const shades: Array<{ shade: Shade; label: string }> = [
  { shade: 'state', label: 'State' },
  { shade: 'drift', label: 'Drift' },
  { shade: 'memory', label: 'Memory' },
];

const meanings: Record<Shade, string> = {
  state: '',
  drift: 'Drift is the growth of an overlay since it was fresh: what the guest has written.',
  memory: 'The memory of this host that a running member uses and does not share. It is read every 10 seconds.',
};

/** All members at a glance: one cell each. */
export function MemberGrid({ fleet, choice }: { fleet: Fleet; choice: FleetChoice }): VNode {
  const { members } = fleet;
  const shade = useValue(choice.shade);
  const { memory, error } = useMemory(fleet.fleet, shade === 'memory');
  const hovered = useMemo(() => observable<number | null>(null), []);
  const [current, setCurrent] = useState<number | null>(null);
  return (
    <section aria-label="Grid of members" class="grid-section">
      <fieldset class="switch">
        <legend>Color by</legend>
        {shades.map(({ shade: one, label }) => (
          <label key={one}>
            <input type="radio" name="shade" checked={shade === one} onChange={() => choice.shade.set(one)} /> {label}
          </label>
        ))}
      </fieldset>
      {error !== null && <p class="problem">The use of memory is not known: {error}</p>}
      {meanings[shade] !== '' && <p class="note">{meanings[shade]}</p>}
      <GridLegend members={members} shade={shade} memory={memory} />
      <Cells {...{ fleet, choice, members, shade, memory, current, setCurrent, hovered }} />
      <CellDetails fleet={fleet} memory={shade === 'memory' ? memory : null} hovered={hovered} current={current} />
      <p class="note">
        Arrow keys move between cells. Click or Space selects a member, Shift selects a range, double-click or Enter opens it.
      </p>
    </section>
  );
}

interface CellsProps {
  fleet: Fleet;
  choice: FleetChoice;
  members: readonly MemberView[];
  shade: Shade;
  memory: MemoryView | null;
  current: number | null;
  setCurrent: (index: number) => void;
  hovered: { set: (index: number | null) => void };
}

/** A list box: one cell is in the order of the Tab key, and the arrow keys move between them. */
function Cells({ fleet, choice, members, shade, memory, current, setCurrent, hovered }: CellsProps): VNode {
  const list = useRef<HTMLDivElement>(null);
  const { picked } = useValue(choice.selection);
  const scale = useMemo(() => scaleOf(shade, members, memory), [shade, members, memory]);
  const order = useMemo(() => members.map(({ index }) => index), [members]);
  const tabStop = current !== null && order.includes(current) ? current : order[0];

  const select = (index: number, isRange: boolean): void =>
    choice.selection.set(isRange ? extend(choice.selection.get(), index, order) : toggle(choice.selection.get(), index));
  const open = (index: number): void => location.assign(memberLink(fleet.fleet, index));
  const onKeyDown = (event: KeyboardEvent): void => {
    const index = indexAt(event.target);
    if (index === null || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === 'Enter') open(index);
    else if (event.key === ' ') select(index, event.shiftKey);
    else {
      const next = nextCell(event.key, order, index, columnsOf(list.current));
      if (next === null) return;
      if (event.shiftKey) {
        if (choice.selection.get().anchor === null) select(index, false);
        select(next, true);
      }
      list.current?.querySelector<HTMLElement>(`[data-index="${next}"]`)?.focus();
    }
    event.preventDefault();
  };
  return (
    <div
      ref={list}
      class="grid"
      role="listbox"
      aria-multiselectable="true"
      aria-label={`Members of ${fleet.fleet}`}
      tabIndex={-1}
      onKeyDown={onKeyDown}
      onClick={(event) => withIndex(event.target, (index) => select(index, event.shiftKey))}
      onDblClick={(event) => withIndex(event.target, open)}
      onFocusIn={(event) => withIndex(event.target, setCurrent)}
      onPointerOver={(event) => hovered.set(indexAt(event.target))}
      onPointerLeave={() => hovered.set(null)}
    >
      {members.map((member) => (
        <Cell
          key={member.index}
          member={member}
          shade={shade}
          level={scale === null ? null : levelOf(scale, member)}
          value={scale === null ? null : scale.sizeOf(member)}
          isPicked={picked.has(member.index)}
          isTabStop={member.index === tabStop}
        />
      ))}
    </div>
  );
}

function indexAt(target: EventTarget | null): number | null {
  const index = target instanceof Element ? target.closest<HTMLElement>('[data-index]')?.dataset.index : undefined;
  return index === undefined ? null : Number(index);
}

function withIndex(target: EventTarget | null, use: (index: number) => void): void {
  const index = indexAt(target);
  if (index !== null) use(index);
}

function columnsOf(list: HTMLElement | null): number {
  return list === null ? 1 : getComputedStyle(list).gridTemplateColumns.split(' ').length;
}
