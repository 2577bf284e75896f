import { styleOf, yieldingOf } from './columns.js';
import { displayWidth, hang, shorten, widthOf } from './layout.js';
import { paint } from './style.js';

export interface Column<T> {
  title: string;
  value: (row: T) => string;
  align?: 'right';
}

const gap = '  ';
/** Width of the last column before other columns are omitted: at least `least`, up to `most` if it has words that long. */
const leastLast = { least: 24, most: 44 };

/**
 * Columns as wide as their widest value; the last one has no fixed width. If the table is wider than the terminal, values are
 * shortened, columns are omitted, and the last column is wrapped.
 * @param width of the terminal; Infinity shows everything
 */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[], width: number = widthOf(process.stdout) ?? Infinity): string {
  const all = columns.map((column): Fitted<T> => {
    const cells = rows.map((row) => column.value(row));
    return { column, cells, width: Math.max(displayWidth(column.title), ...cells.map(displayWidth)) };
  });
  const fitted = narrowed(all, width);
  const cellsOf = (position: number): string[] => fitted.map(({ cells }) => cells[position] ?? '');
  const titles = fitted.map(({ column }) => column.title);
  return [line(fitted, titles, width, false), ...rows.map((_, position) => line(fitted, cellsOf(position), width, true))].join('\n');
}

interface Fitted<T> {
  column: Column<T>;
  cells: string[];
  width: number;
}

function narrowed<T>(all: readonly Fitted<T>[], width: number): Fitted<T>[] {
  let kept = [...all];
  const least = (): number => {
    const last = kept.at(-1);
    return sum(kept.map((one) => (one === last ? lastWidth(one) : Math.min(one.width, yieldingOf(one.column.title).shrink ?? one.width))));
  };
  while (least() > width) {
    const numbers = kept.map(({ column }) => yieldingOf(column.title).drop ?? 0);
    const highest = Math.max(...numbers);
    if (highest === 0) break;
    kept = kept.filter((_, position) => position !== numbers.lastIndexOf(highest));
  }
  return shrunk(kept, width);
}

/** Shrinks the columns that may shrink, the widest first. The last one is wrapped instead. */
function shrunk<T>(kept: readonly Fitted<T>[], width: number): Fitted<T>[] {
  const last = kept.at(-1);
  const widths = kept.map((one) => (one === last ? lastWidth(one) : one.width));
  const least = kept.map(({ column }, position) =>
    Math.min(widths[position] ?? 0, yieldingOf(column.title).shrink ?? Number.POSITIVE_INFINITY),
  );
  for (let over = sum(widths) - width; over > 0; over--) {
    const room = widths.map((one, position) => (kept[position] === last ? 0 : one - (least[position] ?? one)));
    const widest = room.indexOf(Math.max(...room));
    if ((room[widest] ?? 0) <= 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return kept.map((one, position) => (one === last ? one : { ...one, width: widths[position] ?? one.width }));
}

function lastWidth<T>({ cells, width }: Fitted<T>): number {
  const word = Math.max(...cells.flatMap((cell) => cell.split(' ').map(displayWidth)), leastLast.least);
  return Math.min(width, word, leastLast.most);
}

function sum(widths: readonly number[]): number {
  return widths.reduce((total, one) => total + one, 0) + gap.length * Math.max(0, widths.length - 1);
}

function line<T>(fitted: readonly Fitted<T>[], cells: readonly string[], width: number, isPainted: boolean): string {
  const parts = fitted.map(({ column, width: own }, position) => {
    const isLast = position === fitted.length - 1;
    const value = cells[position] ?? '';
    const text = isLast ? value : shorten(value, own);
    const blanks = ' '.repeat(Math.max(0, own - displayWidth(text)));
    const style = isPainted ? styleOf(column.title, value) : undefined;
    const painted = style === undefined ? text : paint(style, text);
    if (column.align === 'right') return `${blanks}${painted}`;
    return isLast ? painted : `${painted}${blanks}`;
  });
  const begin = parts.slice(0, -1).join(gap) + (parts.length > 1 ? gap : '');
  const last = parts.at(-1) ?? '';
  const whole = Number.isFinite(width) ? hang(begin, last, width) : `${begin}${last}`;
  return whole.trimEnd();
}
