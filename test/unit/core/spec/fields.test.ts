import { parse } from 'csv-parse/sync';
import { describe, expect, it } from 'vitest';
import { isTroubled, parseStates } from '../../../../src/core/fleet/selection/member-filter.js';
import { chooseFields, csvTable, type Field, sortRows } from '../../../../src/core/table-fields.js';

interface Row {
  name: string;
  drift: number | null;
}

const fields: Array<Field<Row>> = [
  { key: 'name', title: 'NAME', text: (row) => row.name, value: (row) => row.name },
  { key: 'drift', title: 'DRIFT', text: (row) => `${row.drift} B`, value: (row) => row.drift },
];
const rows: Row[] = [
  { name: 'lab-10', drift: 5 },
  { name: 'lab-9', drift: null },
  { name: 'lab-1', drift: 40 },
];
const sorted = (by: string): string[] => sortRows(rows, fields, by).map(({ name }) => name);

describe('the columns of a listing', () => {
  it('sort numbers by size and names in natural order, with unknown values last in either direction', () => {
    expect(sorted('drift')).toEqual(['lab-10', 'lab-1', 'lab-9']);
    expect(sorted('-drift')).toEqual(['lab-1', 'lab-10', 'lab-9']);
    expect(sorted('name')).toEqual(['lab-1', 'lab-9', 'lab-10']);
  });

  it('are chosen by name, in the requested order', () => {
    expect(chooseFields(fields, 'drift, NAME').map(({ key }) => key)).toEqual(['drift', 'name']);
    for (const choose of [() => chooseFields(fields, 'name,drfit'), () => sorted('-drfit')]) {
      expect(choose).toThrow(
        expect.objectContaining({
          code: 'BAD_USAGE',
          message: 'Unknown column "drfit". Did you mean "drift"?',
          hint: expect.stringContaining('name, drift'),
        }),
      );
    }
  });

  it('are CSV that a spreadsheet reads back without formulas', () => {
    const text = csvTable([{ name: '=1+1,"x"\n', drift: 7 }, ...rows], fields);
    expect(parse(text, { columns: true })).toEqual([
      { name: `'=1+1,"x"\n`, drift: '7' },
      { name: 'lab-10', drift: '5' },
      { name: 'lab-9', drift: '' },
      { name: 'lab-1', drift: '40' },
    ]);
  });
});

describe('a filter for members', () => {
  it('accepts states as tables show them', () => {
    expect([...parseStates('running,OFF')]).toEqual(['running', 'shutOff']);
    expect(() => parseStates('runing')).toThrow(
      expect.objectContaining({ code: 'BAD_USAGE', hint: expect.stringContaining('running, off') }),
    );
  });

  it('finds members with problems, and not those that were stopped on request', () => {
    const fine = { state: 'shutOff', problems: [], hint: null } as const;
    expect(isTroubled(fine)).toBe(false);
    expect(isTroubled({ ...fine, state: 'missing' })).toBe(true);
    expect(isTroubled({ ...fine, problems: ['overlay is missing'] })).toBe(true);
    expect(isTroubled({ ...fine, hint: 'QEMU ended unexpectedly' })).toBe(true);
  });
});
