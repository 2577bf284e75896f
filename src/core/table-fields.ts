import { CowherdError } from './errors.js';
import { csvField } from './quoting.js';
import { closestTo } from './suggestion.js';

/** A column of a listing, for --columns, --sort and CSV. */
export interface Field<T> {
  /** Its name in --columns and --sort, and the CSV header. */
  key: string;
  title: string;
  /** For display. */
  text: (row: T) => string;
  /** For programs and sorting: bytes and seconds as numbers; null if unknown. */
  value: (row: T) => string | number | null;
  align?: 'right';
}

/** @param keys separated by commas, such as `name,drift` @throws BAD_USAGE */
export function chooseFields<T>(fields: readonly Field<T>[], keys: string): Array<Field<T>> {
  const wanted = keys.split(',').map((key) => key.trim());
  return wanted.map((key) => findField(fields, key));
}

/**
 * @param by a field's key; with a leading hyphen for descending order
 * @returns the sorted rows; rows without a value come last
 * @throws BAD_USAGE
 */
export function sortRows<T>(rows: readonly T[], fields: readonly Field<T>[], by: string): T[] {
  const isDescending = by.startsWith('-');
  const { value } = findField(fields, isDescending ? by.slice(1) : by);
  const keyed = rows.map((row) => ({ row, key: value(row) }));
  const compare = (a: string | number, b: string | number): number =>
    typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true });
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return Number(a.key === null) - Number(b.key === null);
    return isDescending ? compare(b.key, a.key) : compare(a.key, b.key);
  });
  return keyed.map(({ row }) => row);
}

export function csvTable<T>(rows: readonly T[], fields: readonly Field<T>[]): string {
  const lines = rows.map((row) => fields.map(({ value }) => csvField(value(row) ?? '')).join(','));
  return [fields.map(({ key }) => key).join(','), ...lines].join('\n');
}

function findField<T>(fields: readonly Field<T>[], key: string): Field<T> {
  const found = fields.find((field) => field.key === key.toLowerCase());
  if (found !== undefined) return found;
  const keys = fields.map((field) => field.key);
  const meant = closestTo(key, keys);
  throw new CowherdError('BAD_USAGE', `Unknown column ${JSON.stringify(key)}.${meant === undefined ? '' : ` Did you mean "${meant}"?`}`, {
    hint: `Choose from ${keys.join(', ')}.`,
  });
}
