import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memberIdentity } from '../../../../src/core/fleet/identity.js';
import { formatIndexes, selectMembers } from '../../../../src/core/fleet/selection/selection.js';
import { assertWhole, parseTargets } from '../../../../src/core/fleet/selection/targets.js';

const id = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';
const members = [1, 2, 3, 5, 17].map((index) => memberIdentity('lab', id, index));
const pick = (...words: string[]): number[] => selectMembers('lab', members, words).map((member) => member.index);

describe('selection', () => {
  it('accepts numbers, ranges and names, each member once, in order', () => {
    expect(pick()).toEqual([1, 2, 3, 5, 17]);
    expect(pick('2-3,17')).toEqual([2, 3, 17]);
    expect(pick('17', 'lab-002', '1-3')).toEqual([1, 2, 3, 17]);
  });

  it.each([
    [['4'], /no member 4/],
    [['1-6'], /no member 4, 6/],
    [['web-001'], /no member web-001/],
    [['3-1'], /is reversed/],
    [[','], /empty/],
  ])('refuses %j', (words, message) => {
    expect(() => pick(...words)).toThrow(message);
  });

  it('reads what it writes', () => {
    expect(formatIndexes([1, 2, 3, 7])).toBe('1-3,7');
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (indexes) => {
        const all = Array.from({ length: 60 }, (_, position) => memberIdentity('lab', id, position + 1));
        const picked = selectMembers('lab', all, [formatIndexes(indexes)]).map((member) => member.index);
        expect(picked).toEqual([...indexes].sort((a, b) => a - b));
      }),
    );
  });
});

describe('targets', () => {
  const known = ['lab', 'web', 'web-001', 'db', '7'];
  const targets = (line: string) =>
    parseTargets(line.split(' '), known).map(({ fleet, members }) => (members.length === 0 ? fleet : `${fleet}:${members.join(',')}`));

  it.each([
    ['lab 1-10,17 lab-003', ['lab:lab-003,1-10,17']],
    ['lab 3,lab-005', ['lab:lab-005,3']],
    ['lab web lab', ['lab', 'web']],
    ['lab,web', ['lab', 'web']],
    ['lab-003', ['lab:lab-003']],
    ['lab-003 5', ['lab:lab-003,5']],
    ['lab-001 db-002 lab-003', ['lab:lab-001,lab-003', 'db:db-002']],
    ['lab lab-003', ['lab:lab-003']],
    ['lab 7', ['lab:7']],
    ['7', ['7']],
    // The exact name of a fleet takes precedence over a member of another one.
    ['web-001', ['web-001']],
    ['web-002', ['web:web-002']],
    // Unknown names: the command reports that they do not exist.
    ['nosuch-003', ['nosuch-003']],
    ['nosuch nosuch-003', ['nosuch:nosuch-003']],
    ['lab lab-web', ['lab', 'lab-web']],
  ])('%s', (line, meant) => {
    expect(targets(line)).toEqual(meant);
  });

  it('are those of a fleet file', () => {
    expect(parseTargets([], known, ['web', 'db'])).toEqual([
      { fleet: 'web', members: [] },
      { fleet: 'db', members: [] },
    ]);
  });

  it('are refused if ambiguous, and never mean all members', () => {
    expect(() => parseTargets([], known)).toThrow('No fleet given');
    expect(() => targets('lab web 3')).toThrow(expect.objectContaining({ hint: expect.stringContaining('lab-001') }));
    expect(() => parseTargets(['lab'], known, ['web'])).toThrow('not both');
    for (const word of ['', ',', ',,', '1..10', '1:10', 'lab_003', '*', '../x'])
      expect(() => parseTargets(['lab', word], known), word).toThrow(/is not a fleet name/);
  });

  it('are whole fleets for commands without member selection', () => {
    expect(() => assertWhole('rebase', parseTargets(['lab-003'], known))).toThrow(/whole fleets/);
    assertWhole('rebase', parseTargets(['lab', 'web'], known));
  });
});
