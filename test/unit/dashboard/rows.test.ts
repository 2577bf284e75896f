import { describe, expect, it } from 'vitest';
import type { MemberView } from '../../../src/dashboard/protocol.js';
import { nextCell } from '../../../src/dashboard/web/store/grid-keys.js';
import { isTroubled, levelCounts, levelOf, scaleOf } from '../../../src/dashboard/web/store/levels.js';
import { filtered, listedIndexes, sorted, tableItems } from '../../../src/dashboard/web/store/rows.js';
import { rowWindow } from '../../../src/dashboard/web/store/window.js';

function member(index: number, more: Partial<MemberView> = {}): MemberView {
  return {
    ...{ index, name: `lab-${index}`, state: 'running', reason: 'booted', hasAgent: null, overlayBytes: 0, driftBytes: 0, address: null },
    ...{
      sshPort: null,
      checkpointAt: null,
      startedAt: null,
      base: 'debian@aa',
      isOutdated: false,
      problems: [],
      hint: null,
      progress: null,
    },
    ...more,
  };
}

const members = [
  member(1, { driftBytes: 5, address: '10.0.0.10' }),
  member(2, { state: 'shutOff', reason: 'shutdown', driftBytes: 70_000 }),
  member(3, { state: 'broken', problems: ['overlay is missing'], base: 'debian@bb', address: '10.0.0.9' }),
  member(10, { state: 'shutOff', isOutdated: true, sshPort: 4000 }),
];
const indexes = (rows: readonly MemberView[]): number[] => rows.map(({ index }) => index);

describe('the table of members', () => {
  it('filters by all words, in the words of the page', () => {
    expect(indexes(filtered(members, ' OFF '))).toEqual([2, 10]);
    expect(indexes(filtered(members, 'off outdated'))).toEqual([10]);
    expect(indexes(filtered(members, 'overlay missing'))).toEqual([3]);
    expect(indexes(filtered(members, '127.0.0.1:4000'))).toEqual([10]);
    expect(filtered(members, '')).toBe(members);
  });

  it('sorts, with unknown values last in both directions', () => {
    expect(indexes(sorted(members, { sort: 'drift', isDown: true }))).toEqual([2, 1, 3, 10]);
    expect(indexes(sorted(members, { sort: 'address', isDown: false }))).toEqual([3, 1, 10, 2]);
    expect(indexes(sorted(members, { sort: 'address', isDown: true }))).toEqual([10, 1, 3, 2]);
    expect(indexes(sorted(members, { sort: 'state', isDown: false }))).toEqual([3, 1, 2, 10]);
  });

  it('sorts by uptime: the shortest first', () => {
    const rows = [member(1, { startedAt: '2026-01-01T00:00:00Z' }), member(2, { startedAt: '2026-01-02T00:00:00Z' }), member(3)];
    expect(indexes(sorted(rows, { sort: 'uptime', isDown: false }))).toEqual([2, 1, 3]);
  });

  it('groups in the order of the states', () => {
    const items = tableItems(members, { filter: '', sort: 'member', isDown: true, group: 'state' });
    expect(items.map((item) => (item.kind === 'group' ? item.key : item.index))).toEqual(['broken', 3, 'running', 1, 'shutOff', 10, 2]);
    expect(listedIndexes(items)).toEqual([3, 1, 10, 2]);
  });

  it('shows all rows of a short table, and those in view of a long one', () => {
    expect(rowWindow(200, 36, 5000, 600)).toEqual({ from: 0, to: 200, before: 0, after: 0 });
    const middle = rowWindow(1000, 36, 18_000, 720);
    expect(middle).toMatchObject({ from: 485, to: 535 });
    expect(middle.before + middle.after + 50 * 36).toBe(36_000);
    expect(rowWindow(1000, 36, 99_999, 720)).toMatchObject({ to: 1000, after: 0 });
    expect(rowWindow(1000, 36, 0, 720)).toMatchObject({ from: 0, before: 0 });
  });
});

describe('the grid of members', () => {
  it('moves by keys, and stays at its edges', () => {
    const order = [1, 2, 3, 4, 5, 7, 8];
    expect(nextCell('ArrowRight', order, 5, 3)).toBe(7);
    expect(nextCell('ArrowDown', order, 2, 3)).toBe(5);
    expect(nextCell('ArrowDown', order, 7, 3)).toBe(7);
    expect(nextCell('ArrowUp', order, 2, 3)).toBe(2);
    expect(nextCell('End', order, 1, 3)).toBe(8);
    expect(nextCell('x', order, 1, 3)).toBeNull();
    expect(nextCell('toString', order, 1, 3)).toBeNull();
    expect(nextCell('Home', order, 99, 3)).toBeNull();
  });

  it('has levels of drift, which count as the report does', () => {
    const scale = scaleOf('drift', members, null);
    if (scale === null) throw new Error('no scale');
    expect(members.map((one) => levelOf(scale, one))).toEqual([0, 1, 0, 0]);
    expect(levelCounts(scale, members).map(({ count }) => count)).toEqual([3, 1, 0, 0, 0, 0]);
    expect(levelCounts(scale, members)[0]?.label).toBe('under 64 KiB');
  });

  it('has levels of memory; that of other members is unknown', () => {
    const memory = { members: { 'lab-1': { privateBytes: 1024, sharedBytes: 0 } } };
    const scale = scaleOf('memory', members, memory);
    if (scale === null) throw new Error('no scale');
    expect(members.map((one) => levelOf(scale, one))).toEqual([0, null, null, null]);
    expect(levelCounts(scale, members).at(-1)).toEqual({ level: null, label: 'unknown', count: 3 });
    expect(scaleOf('state', members, memory)).toBeNull();
  });

  it('marks members with problems', () => {
    expect(members.map(isTroubled)).toEqual([false, false, true, false]);
  });
});
