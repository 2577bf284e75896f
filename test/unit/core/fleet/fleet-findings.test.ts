import { describe, expect, it } from 'vitest';
import type { CowherdError } from '../../../../src/core/errors.js';
import { readFleetFile } from '../../../../src/services/fleet/file.js';

/** @returns the findings for a fleet file with that text */
async function said(text: string): Promise<{ message: string; details: string[] }> {
  const error = await readFleetFile({ readFile: async () => text }, 'lab.yaml').then(
    () => undefined,
    (reason: CowherdError) => reason,
  );
  return { message: error?.message ?? 'accepted', details: error?.details ?? [] };
}

describe('a problem in a fleet file', () => {
  it.each([
    [
      'an unknown key in place of a known one',
      'name: lab\ncuont: 3\nbase: golden\n',
      ['lab.yaml:2:1: unknown key "cuont"; did you mean "count"?', 'lab.yaml:1:1: count: is missing'],
    ],
    [
      'one in a lab, in flow style',
      'fleets:\n  - { name: web, base: g, count: 1, memroy: 1GiB }\n',
      ['lab.yaml:2:37: unknown key "memroy"; did you mean "memory"?'],
    ],
    [
      'one of a disk',
      'name: lab\nbase: g\ncount: 1\ndisks:\n  - size: 1GiB\n    buss: scsi\n',
      ['lab.yaml:6:5: unknown key "buss"; did you mean "bus"?'],
    ],
    ['one that resembles nothing', 'name: lab\nbase: g\ncount: 1\nwibblewobble: 1\n', ['lab.yaml:4:1: unknown key "wibblewobble"']],
    ['the key of a lab', 'flets: []\nname: lab\nbase: g\ncount: 1\n', ['lab.yaml:1:1: unknown key "flets"; did you mean "fleets"?']],
    ['a missing key', 'fleets:\n  - name: web\n    base: g\n', ['lab.yaml:2:5: fleets[0].count: is missing']],
    [
      'a value of the wrong kind, and one that is mistyped',
      'name: lab\nbase: g\ncount: three\nseed: nocluod\n',
      [
        'lab.yaml:3:8: count: expected number, received string',
        'lab.yaml:4:7: seed: is none of none, nocloud, smbios; did you mean "nocloud"?',
      ],
    ],
    ['an empty value', 'name: lab\nbase: g\ncount:\n', [expect.stringMatching(/^lab\.yaml:3:\d+: count: expected number/)]],
    [
      'a name twice',
      'fleets:\n  - { name: a, base: g, count: 1 }\n  - { name: a, base: g, count: 1 }\n',
      ['lab.yaml:3:13: fleets[1].name: a is already the name of fleets[0]'],
    ],
    ['no base', 'name: lab\ncount: 1\n', ['lab.yaml:1:1: has neither base nor fromDomain nor image']],
    [
      'JSON',
      '{\n  "name": "lab",\n  "base": "g",\n  "count": 1,\n  "bsae": 2\n}\n',
      ['lab.yaml:5:3: unknown key "bsae"; did you mean "base"?'],
    ],
  ])('is reported with its position: %s', async (_what, text, details) => {
    expect(await said(text)).toEqual({ message: 'lab.yaml is not a fleet file', details });
  });

  it('is reported at the position where an alias is used', async () => {
    const { details } = await said('fleets:\n  - &a { name: a, base: g, count: 1, sede: none }\n  - *a\n');
    expect(details[0]).toBe('lab.yaml:2:38: unknown key "sede"; did you mean "seed"?');
    expect(details[1]).toMatch(/^lab\.yaml:3:5: unknown key "sede"/);
  });

  it('is told with its place where it is not YAML', async () => {
    expect((await said('name: lab\nbase: [g\n')).message).toMatch(/^lab\.yaml:3:1: invalid YAML: /);
  });

  it('takes at most twenty lines', async () => {
    const keys = Array.from({ length: 500 }, (_, number) => `k${number}: 1`).join('\n');
    const { details } = await said(`name: lab\nbase: g\ncount: 1\n${keys}\n`);
    expect(details).toHaveLength(20);
    expect(details[0]).toBe('lab.yaml:4:1: unknown key "k0"');
  });
});
