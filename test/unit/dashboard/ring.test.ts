import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ring } from '../../../src/dashboard/server/live/ring.js';

describe('the last changes', () => {
  it('are bounded, and complete from any of them', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 8 }), { maxLength: 50 }), fc.integer({ min: -2, max: 60 }), (texts, after) => {
        const ring = new Ring({ count: 10, bytes: 40 });
        for (const text of texts) ring.add(text);
        const found = ring.after(after);
        if (found === undefined) return;
        expect(found.length).toBeLessThanOrEqual(10);
        expect(found.map(({ text }) => text)).toEqual(texts.slice(after));
        expect(found.map(({ id }) => id)).toEqual(texts.slice(after).map((_, position) => after + position + 1));
      }),
    );
  });

  it('are refused for what is gone or was never sent', () => {
    const ring = new Ring({ count: 2, bytes: 100 });
    for (const text of ['a', 'b', 'c']) ring.add(text);
    expect(ring.after(3)).toEqual([]);
    expect(ring.after(1)?.map(({ text }) => text)).toEqual(['b', 'c']);
    expect(ring.after(0)).toBeUndefined();
    expect(ring.after(4)).toBeUndefined();
  });
});
