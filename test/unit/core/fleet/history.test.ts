import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { historyEntry, indexesIn, parseHistory } from '../../../../src/core/fleet/history.js';
import { formatIndexes } from '../../../../src/core/fleet/selection/selection.js';

const at = '2026-01-01T10:00:00.000Z';

describe('the history of a fleet', () => {
  it('is read as it was written', () => {
    const entry = historyEntry(
      {
        ...{ id: 'a', verb: 'reset', startedAt: at, done: new Set([3, 1, 2, 7]) },
        failed: new Map([
          [9, 'TOOL_FAILED'],
          [7, 'NOT_READY'],
        ]),
      },
      { now: at, diskBytes: 5 },
    );
    expect(entry).toEqual({ time: at, startedAt: at, id: 'a', verb: 'reset', done: '1-3,7', failed: { 9: 'TOOL_FAILED' }, diskBytes: 5 });
    expect(parseHistory(`${JSON.stringify(entry)}\n`)).toEqual([entry]);
    // An operation that was ended twice, damaged lines, and one that is not complete.
    const later = { ...entry, diskBytes: 6 };
    const other = { ...entry, id: 'b' };
    const text = [entry, other, later].map((one) => JSON.stringify(one)).join('\n{"time": 1}\nx\n');
    expect(parseHistory(`${text}\n${JSON.stringify({ ...entry, id: 'c' })}`)).toEqual([other, later]);
  });

  it('names members in ranges', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 60 })), (indexes) => {
        const isIn = indexesIn(formatIndexes(indexes));
        expect(Array.from({ length: 62 }, (_, index) => index).filter(isIn)).toEqual([...indexes].sort((a, b) => a - b));
      }),
    );
  });
});
