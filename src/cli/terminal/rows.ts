import { chooseFields, csvTable, type Field, sortRows } from '../../core/table-fields.js';
import { table } from './table.js';

/** What was asked for of a listing, see table-flags.ts. */
export interface TableView {
  output?: 'wide' | 'csv' | 'json' | 'yaml' | undefined;
  columns?: string | undefined;
  sort?: string | undefined;
}

/**
 * Rows as a table for people, or as CSV.
 * @param fields all that there are
 * @param usual those of a table for which nothing was asked
 * @throws BAD_USAGE
 */
export function renderRows<T>(rows: readonly T[], fields: readonly Field<T>[], usual: readonly Field<T>[], view: TableView): string {
  const isWhole = view.output === 'wide' || view.output === 'csv';
  const shown = view.columns === undefined ? (isWhole ? fields : usual) : chooseFields(fields, view.columns);
  const sorted = view.sort === undefined ? rows : sortRows(rows, fields, view.sort);
  if (view.output === 'csv') return csvTable(sorted, shown);
  return table<T>(
    sorted,
    shown.map(({ title, text, align }) => ({ title, value: text, ...(align === undefined ? {} : { align }) })),
    // What was asked for is shown, however wide.
    ...(view.columns === undefined && !isWhole ? [] : [Infinity]),
  );
}
