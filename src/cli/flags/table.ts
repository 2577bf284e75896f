import { Flags } from '@oclif/core';

/** Flags shared by listings: rows, columns and output format. */
export const tableFlags = {
  output: Flags.option({
    char: 'o',
    description: 'output format; wide shows all columns, json is the same as --json',
    options: ['wide', 'csv', 'json', 'yaml'] as const,
  })(),
  columns: Flags.string({ description: 'show only these columns, in this order', helpValue: 'NAME,…' }),
  sort: Flags.string({
    description: 'sort by this column; prefix it with a hyphen for descending order, as in --sort=-base',
    helpValue: 'NAME',
  }),
  problems: Flags.boolean({ description: 'show only entries with problems' }),
  state: Flags.string({
    description: 'show only entries in these states: running, off, paused, broken (with a problem), missing (without domain and overlay)',
    helpValue: 'STATE,…',
  }),
};

/** Whether -o json was given: errors are then JSON, too. */
export function asksForJson(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  const own = end < 0 ? words : words.slice(0, end);
  return own.some((word, position) => /^(-o|--output=)json$/.test(word) || (/^(-o|--output)$/.test(word) && own[position + 1] === 'json'));
}
