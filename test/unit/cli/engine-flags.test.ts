import { describe, expect, it } from 'vitest';
import { placementOf } from '../../../src/cli/flags/placement.js';
import { readingOnce } from '../../../src/cli/place.js';
import { changesOf } from '../../../src/services/engine/changes-of.js';

describe('the flags for placement', () => {
  it('replace the settings of a fleet file one by one', () => {
    expect(placementOf({ flavor: 'm1', 'security-group': ['a', 'b'] }, { flavor: 'm2', key: 'mine' })).toEqual({
      flavor: 'm1',
      key: 'mine',
      securityGroups: ['a', 'b'],
    });
    expect(placementOf({ az: 'one', key: 'other' })).toEqual({ az: 'one', key: 'other' });
  });

  it('that are not given leave the recorded placement', () => {
    expect(placementOf({})).toBeUndefined();
    expect(placementOf({}, { flavor: 'm2' })).toEqual({ flavor: 'm2' });
  });
});

it('a file is read once, also if it is a pipe', async () => {
  const read: string[] = [];
  const readFile = readingOnce(async (path) => {
    read.push(path);
    return `text of ${path}`;
  });
  expect([await readFile('a'), await readFile('b'), await readFile('a')]).toEqual(['text of a', 'text of b', 'text of a']);
  expect(read).toEqual(['a', 'b']);
});

describe('changes of fleets', () => {
  it('are those of the engine, if it reports them', async () => {
    const { signal } = new AbortController();
    const changes = { next: async () => undefined };
    const asked: unknown[] = [];
    const watch = async (...words: unknown[]) => {
      asked.push(words);
      return changes;
    };
    expect(await changesOf({ watch }, ['lab'], signal)).toBe(changes);
    expect(asked).toEqual([[['lab'], signal]]);
  });

  it('are awaited for the longest time otherwise, unless the command ends', async () => {
    const ending = new AbortController();
    const changes = await changesOf({}, ['lab'], ending.signal);
    const began = performance.now();
    await changes.next({ least: 1, most: 50 });
    expect(performance.now() - began).toBeGreaterThanOrEqual(45);
    const waiting = changes.next({ least: 1, most: 600_000 });
    ending.abort();
    await waiting;
    expect(performance.now() - began).toBeLessThan(60_000);
  });
});
