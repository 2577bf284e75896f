/** The selected members of a fleet, by index. It does not depend on the order or the filter of a view. */
export interface Selection {
  picked: ReadonlySet<number>;
  /** Where a range begins: the member that was chosen last. */
  anchor: number | null;
}

export const noSelection: Selection = { picked: new Set(), anchor: null };

export function toggle({ picked }: Selection, index: number): Selection {
  const next = new Set(picked);
  if (!next.delete(index)) next.add(index);
  return { picked: next, anchor: index };
}

/** Selects everything from the anchor to a member, in the order of the view. Without an anchor in that view, only the member. */
export function extend({ picked, anchor }: Selection, index: number, order: readonly number[]): Selection {
  const to = order.indexOf(index);
  const from = anchor === null ? -1 : order.indexOf(anchor);
  const range = from < 0 || to < 0 ? [index] : order.slice(Math.min(from, to), Math.max(from, to) + 1);
  return { picked: new Set([...picked, ...range]), anchor: from < 0 ? index : anchor };
}

/** Selects these in addition; if all of them are selected, none of them. */
export function toggleAll({ picked, anchor }: Selection, indexes: readonly number[]): Selection {
  const next = new Set(picked);
  if (indexes.every((index) => picked.has(index))) for (const index of indexes) next.delete(index);
  else for (const index of indexes) next.add(index);
  return { picked: next, anchor };
}

/** Those that still exist, in the order of their indexes. */
export function presentIn({ picked }: Selection, members: ReadonlyArray<{ index: number }>): number[] {
  return members.flatMap(({ index }) => (picked.has(index) ? index : []));
}

/** Of a checkbox for several members. */
export function coverage({ picked }: Selection, indexes: readonly number[]): 'all' | 'some' | 'none' {
  const count = indexes.reduce((sum, index) => sum + (picked.has(index) ? 1 : 0), 0);
  return count === 0 ? 'none' : count === indexes.length ? 'all' : 'some';
}
