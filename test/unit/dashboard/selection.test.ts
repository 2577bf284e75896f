import { describe, expect, it } from 'vitest';
import { coverage, extend, noSelection, presentIn, type Selection, toggle, toggleAll } from '../../../src/dashboard/web/store/selection.js';

const picked = ({ picked: set }: Selection): number[] => [...set].sort((a, b) => a - b);

describe('the selection', () => {
  it('toggles one member', () => {
    const one = toggle(noSelection, 3);
    expect(picked(one)).toEqual([3]);
    expect(picked(toggle(one, 3))).toEqual([]);
  });

  it('selects a range in the order of the view, in both directions', () => {
    const order = [5, 1, 9, 3, 7];
    const one = toggle(noSelection, 9);
    expect(picked(extend(one, 7, order))).toEqual([3, 7, 9]);
    expect(picked(extend(one, 5, order))).toEqual([1, 5, 9]);
    // The anchor stays: the range can be changed.
    expect(extend(one, 7, order).anchor).toBe(9);
  });

  it('selects one member if the anchor is not in the view', () => {
    expect(picked(extend(toggle(noSelection, 2), 7, [5, 7]))).toEqual([2, 7]);
    expect(extend(noSelection, 7, [5, 7]).anchor).toBe(7);
  });

  it('selects all that are shown in addition, or none of them', () => {
    const all = toggleAll(toggle(noSelection, 8), [1, 2]);
    expect(picked(all)).toEqual([1, 2, 8]);
    expect(picked(toggleAll(all, [1, 2]))).toEqual([8]);
    expect([coverage(all, [1, 2]), coverage(all, [2, 3]), coverage(all, [3]), coverage(all, [])]).toEqual(['all', 'some', 'none', 'none']);
  });

  it('forgets members that are gone', () => {
    expect(presentIn(toggleAll(noSelection, [1, 2, 3]), [{ index: 1 }, { index: 3 }, { index: 4 }])).toEqual([1, 3]);
  });
});
