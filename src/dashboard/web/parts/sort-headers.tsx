import type { VNode } from 'preact';
import type { FleetChoice } from '../store/fleet-choice.js';
import type { SortKey } from '../store/rows.js';
import { useValue } from './hooks.js';

const orders: Array<{ key: SortKey; label: string }> = [
  { key: 'member', label: 'Member' },
  { key: 'state', label: 'State' },
  { key: 'uptime', label: 'Uptime' },
  { key: 'address', label: 'Address' },
  { key: 'drift', label: 'Drift' },
  { key: 'overlay', label: 'Overlay' },
  { key: 'checkpoint', label: 'Checkpoint' },
  { key: 'base', label: 'Base image' },
];

/** The header cells that sort. Sizes begin with the largest. */
export function SortHeaders({ choice }: { choice: FleetChoice }): VNode {
  const { sort, isDown } = useValue(choice.table);
  const change = (key: SortKey): void => {
    const startsDown = key === 'drift' || key === 'overlay' || key === 'checkpoint';
    choice.table.set({ ...choice.table.get(), sort: key, isDown: key === sort ? !isDown : startsDown });
  };
  return (
    <>
      {orders.map(({ key, label }) => (
        <th
          key={key}
          scope="col"
          class={key === 'drift' || key === 'overlay' || key === 'uptime' ? 'n' : undefined}
          aria-sort={key !== sort ? undefined : isDown ? 'descending' : 'ascending'}
        >
          <button type="button" onClick={() => change(key)}>
            {label}
          </button>
        </th>
      ))}
    </>
  );
}
