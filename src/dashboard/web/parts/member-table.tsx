import type { VNode } from 'preact';
import { useMemo } from 'preact/hooks';
import type { FleetChoice } from '../store/fleet-choice.js';
import type { Fleet } from '../store/herd.js';
import { type GroupKey, listedIndexes, tableItems } from '../store/rows.js';
import { presentIn } from '../store/selection.js';
import { plural } from '../text/format.js';
import { useThrottled, useValue } from './hooks.js';
import { TableRows } from './table-rows.js';

/** The members as a table with a filter, groups and an order. The selection does not depend on them. */
export function MemberTable({ fleet, choice }: { fleet: Fleet; choice: FleetChoice }): VNode {
  // The order follows changes a few times per second; the rows show them at once.
  const members = useThrottled(fleet.members, 400);
  const table = useValue(choice.table);
  const items = useMemo(() => tableItems(members, table), [members, table]);
  const listed = useMemo(() => listedIndexes(items), [items]);
  return (
    <section aria-label="Table of members" class="table-section">
      <Tools fleet={fleet} choice={choice} listed={listed} />
      <TableRows fleet={fleet} choice={choice} items={items} listed={listed} />
    </section>
  );
}

const groups: Array<{ key: GroupKey; label: string }> = [
  { key: 'none', label: 'None' },
  { key: 'state', label: 'State' },
  { key: 'base', label: 'Base image' },
];

function Tools({ fleet, choice, listed }: { fleet: Fleet; choice: FleetChoice; listed: readonly number[] }): VNode {
  const table = useValue(choice.table);
  const selection = useValue(choice.selection);
  const shown = new Set(listed);
  const hidden = presentIn(selection, fleet.members).filter((index) => !shown.has(index)).length;
  const total = fleet.members.length;
  return (
    <div class="tools">
      <label for="filter">Filter</label>
      <input
        id="filter"
        type="search"
        autocomplete="off"
        spellcheck={false}
        placeholder="words, such as off or lab-01"
        value={table.filter}
        onInput={(event) => choice.table.set({ ...choice.table.get(), filter: event.currentTarget.value })}
      />
      <label for="group">Group by</label>
      <select
        id="group"
        value={table.group}
        onChange={(event) => choice.table.set({ ...choice.table.get(), group: event.currentTarget.value as GroupKey })}
      >
        {groups.map(({ key, label }) => (
          <option key={key} value={key}>
            {label}
          </option>
        ))}
      </select>
      <output for="filter">
        {listed.length === total ? plural(total, 'member') : `${listed.length} of ${plural(total, 'member')}`}
        {hidden > 0 && `; ${hidden} selected ${hidden === 1 ? 'is' : 'are'} not shown`}
      </output>
    </div>
  );
}
