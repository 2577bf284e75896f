import { Flags } from '@oclif/core';

/** What listings have in common on the command line: which rows and columns they show, and in which form. */
export const tableFlags = {
  output: Flags.option({
    char: 'o',
    description: 'form of the listing: wide has all columns, json is the same as --json',
    options: ['wide', 'csv', 'json', 'yaml'] as const,
  })(),
  columns: Flags.string({ description: 'only these columns, in this order', helpValue: 'NAME,…' }),
  sort: Flags.string({
    description: 'sort by this column; with a hyphen before it, the largest come first: --sort=-drift',
    helpValue: 'NAME',
  }),
  problems: Flags.boolean({ description: 'only those with which something is wrong' }),
  state: Flags.string({ description: 'only those in these states: running, off, paused, broken, missing', helpValue: 'STATE,…' }),
};

/** Whether -o json was asked for: errors are documents then, too. */
export function asksForJson(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  const own = end < 0 ? words : words.slice(0, end);
  return own.some((word, position) => /^(-o|--output=)json$/.test(word) || (/^(-o|--output)$/.test(word) && own[position + 1] === 'json'));
}
