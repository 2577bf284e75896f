import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memberIdentity } from '../../../src/core/identity.js';
import { formatIndexes, selectMembers } from '../../../src/core/selection.js';
import { parseTargets } from '../../../src/core/targets.js';

const id = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';
const members = [1, 2, 3, 5, 17].map((index) => memberIdentity('lab', id, index));
const pick = (...words: string[]): number[] => selectMembers('lab', members, words).map((member) => member.index);

describe('selection', () => {
  it('takes numbers, ranges and names, each member once, in order', () => {
    expect(pick()).toEqual([1, 2, 3, 5, 17]);
    expect(pick('2-3,17')).toEqual([2, 3, 17]);
    expect(pick('17', 'lab-002', '1-3')).toEqual([1, 2, 3, 17]);
  });

  it.each([
    [['4'], /no member 4/],
    [['1-6'], /no member 4, 6/],
    [['web-001'], /no member web-001/],
    [['3-1'], /backwards/],
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
  it('tells members from fleets', () => {
    expect(parseTargets(['lab', '1-10,17', 'lab-003'])).toEqual({ fleets: ['lab'], members: ['1-10,17', 'lab-003'] });
    expect(parseTargets(['lab', 'web', 'lab'])).toEqual({ fleets: ['lab', 'web'], members: [] });
    expect(parseTargets([], ['web', 'db'])).toEqual({ fleets: ['web', 'db'], members: [] });
  });

  it('refuses what is ambiguous', () => {
    expect(() => parseTargets([])).toThrow('Which fleet?');
    expect(() => parseTargets(['lab', 'web', '3'])).toThrow('one fleet at a time');
    expect(() => parseTargets(['lab'], ['web'])).toThrow('not both');
    for (const word of ['', '1..10', '1:10', 'lab_003', '*', '../x'])
      expect(() => parseTargets(['lab', word]), word).toThrow(/is not a fleet name/);
    expect(parseTargets(['lab', '3,lab-005'])).toEqual({ fleets: ['lab'], members: ['3,lab-005'] });
    expect(parseTargets(['lab', 'lab-web'])).toEqual({ fleets: ['lab', 'lab-web'], members: [] });
  });
});
