import ms from 'ms';
import prettyBytes from 'pretty-bytes';

export function bytes(count: number): string {
  return prettyBytes(count, { binary: true });
}

export function seconds(count: number): string {
  return count < 120 ? `${count.toFixed(count < 10 ? 1 : 0)} s` : `${Math.round(count / 60)} min`;
}

export function duration(secondsAgo: number): string {
  return ms(Math.max(0, Math.round(secondsAgo)) * 1000);
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** `{running: 3, broken: 1, missing: 0}` → `3 running, 1 broken`. */
export function countsLine(counts: Record<string, number>, words: Record<string, string> = {}): string {
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  return parts.length === 0 ? 'none' : parts.map(([kind, count]) => `${count} ${words[kind] ?? kind}`).join(', ');
}

export interface Column<T> {
  title: string;
  value: (row: T) => string;
  align?: 'right';
}

/** Columns as wide as their widest value; the last one runs free. */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
  const cells = [columns.map((column) => column.title), ...rows.map((row) => columns.map((column) => column.value(row)))];
  const widths = columns.map((_, position) => Math.max(...cells.map((line) => line[position]?.length ?? 0)));
  return cells
    .map((line) =>
      line
        .map((cell, position) =>
          columns[position]?.align === 'right' ? cell.padStart(widths[position] ?? 0) : cell.padEnd(widths[position] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
