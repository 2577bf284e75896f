import { describe, expect, it } from 'vitest';
import { closestTo } from '../../../../src/core/suggestion.js';

describe('a suggestion for a mistyped word', () => {
  const commands = ['spawn', 'status', 'start', 'stop', 'cp', 'ls', 'teardown'];

  it.each([
    ['spwan', 'spawn'],
    ['statsu', 'status'],
    ['teardwon', 'teardown'],
    ['sl', undefined],
    ['lss', 'ls'],
    ['x', undefined],
    ['xyzzy', undefined],
    ['', undefined],
    ['s'.repeat(100_000), undefined],
  ])('%s → %s', (word, meant) => {
    expect(closestTo(word, commands)).toBe(meant);
  });

  it('is undefined without candidates', () => {
    expect(closestTo('spawn', [])).toBeUndefined();
  });
});
