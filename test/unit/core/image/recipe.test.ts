import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  longestPreparedName,
  prepareCommand,
  preparingFleet,
  type Recipe,
  recipeDigest,
  recipeName,
} from '../../../../src/core/image/recipe.js';
import { namePattern } from '../../../../src/core/names.js';

const base = 'a'.repeat(64);
const plain: Recipe = { base, run: [], generalize: false };

describe('the digest of a recipe', () => {
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const recipes = fc.record<Recipe>({
    base: fc.constantFrom(base, 'b'.repeat(64)),
    run: fc.array(fc.string(), { maxLength: 3 }),
    script: optional(fc.string()),
    generalize: fc.boolean(),
    seed: optional(fc.constantFrom('none', 'nocloud')),
    userData: optional(fc.string()),
    sshKeys: optional(fc.array(fc.string(), { minLength: 1, maxLength: 2 })),
    rootBytes: optional(fc.nat()),
  });

  it('is the same for equal recipes only', () => {
    const ordered = (recipe: Recipe): string => JSON.stringify(Object.entries(recipe).sort(([a], [b]) => (a < b ? -1 : 1)));
    fc.assert(
      fc.property(recipes, recipes, (one, other) => {
        expect(recipeDigest(one) === recipeDigest(other)).toBe(ordered(one) === ordered(other));
        expect(recipeDigest(structuredClone(one))).toBe(recipeDigest(one));
      }),
    );
  });

  it.each<[string, Partial<Recipe>, Partial<Recipe>]>([
    ['a command from a script', { run: ['x'] }, { script: 'x' }],
    ['two commands from one', { run: ['a', 'b'] }, { run: ['a\nb'] }],
    ['two commands in another order', { run: ['a', 'b'] }, { run: ['b', 'a'] }],
    ['an empty text from none', { script: '' }, {}],
    ['a script from user-data', { script: 'x' }, { userData: 'x' }],
  ])('tells %s', (_what, one, other) => expect(recipeDigest({ ...plain, ...one })).not.toBe(recipeDigest({ ...plain, ...other })));

  it('does not change with a later version, since it is recorded', () => {
    expect(recipeDigest({ ...plain, run: ['apt-get update'], generalize: true })).toBe(
      '8015125158d78e849c7375f704c67ae019b41cea28ef03b186631b911d70ea07',
    );
  });
});

describe('the names of a preparation', () => {
  it('fit, and are valid', () => {
    const names = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,39}$/);
    fc.assert(
      fc.property(names, (name) => {
        const image = recipeName(name, recipeDigest(plain));
        expect(preparingFleet(image)).toMatch(namePattern);
        expect(image.length).toBeLessThanOrEqual(longestPreparedName);
      }),
    );
  });

  it('are refused if the name of the VM would be too long', () => {
    expect(preparingFleet('x'.repeat(32))).toHaveLength(40);
    expect(() => preparingFleet('x'.repeat(33))).toThrow(
      expect.objectContaining({ code: 'BAD_USAGE', hint: expect.stringContaining('32') }),
    );
    expect(() => preparingFleet('No Name')).toThrow(expect.objectContaining({ code: 'BAD_USAGE' }));
  });
});

it('writes a preparation as words for a shell', () => {
  const text = prepareCommand('/a b/x.qcow2', {
    run: ["echo 'it is'", 'two\nlines'],
    generalize: true,
    keep: false,
    memory: undefined,
    as: 'web',
  });
  const words = execFileSync('sh', ['-c', `cowherd() { printf '%s\\0' "$@"; }; ${text}`], { encoding: 'utf8' })
    .split('\0')
    .slice(0, -1);
  expect(words).toEqual(['base', 'prepare', '/a b/x.qcow2', '--run', "echo 'it is'", '--run', 'two\nlines', '--generalize', '--as', 'web']);
});
