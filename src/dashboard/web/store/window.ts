/** Which rows of a long table exist: those that are visible, and some before and after them. */

export interface RowWindow {
  from: number;
  to: number;
  /** Heights of the missing rows, in the unit of the row height. */
  before: number;
  after: number;
}

const allUpTo = 200;
const margin = 15;

export function rowWindow(count: number, rowHeight: number, scrollTop: number, height: number): RowWindow {
  if (count <= allUpTo) return { from: 0, to: count, before: 0, after: 0 };
  const first = Math.floor(scrollTop / rowHeight) - margin;
  const visible = Math.ceil(height / rowHeight) + 2 * margin;
  const from = Math.max(0, Math.min(first, count - visible));
  const to = Math.min(count, from + visible);
  return { from, to, before: from * rowHeight, after: (count - to) * rowHeight };
}
