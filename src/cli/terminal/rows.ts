import { chooseFields, csvTable, type Field, sortRows } from '../../core/table-fields.js';
import { table } from './table.js';

/** Options of a listing, see flags/table.ts. */
export interface TableView {
  output?: 'wide' | 'csv' | 'json' | 'yaml' | undefined;
  columns?: string | undefined;
  sort?: string | undefined;
}

/**
 * Rows as a table or as CSV.
 * @param fields all fields
 * @param usual the default fields of a table
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
    // Requested columns are shown at any width.
    ...(view.columns === undefined && !isWhole ? [] : [Infinity]),
  );
}
