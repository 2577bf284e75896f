import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { allHints } from '../../support/hints/all-hints.js';
import { hintKinds } from '../../support/hints/kinds.js';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const at = (path: string): string => join(repository, path);

it('gives every hint in the sources a kind, and every kind tests that exist', { timeout: 60_000 }, () => {
  const found = new Map(hintKinds.map(({ kind }) => [kind, 0]));
  for (const { file, text } of allHints()) {
    const kind = hintKinds.find(({ says }) => says.test(text))?.kind;
    expect(kind, `${file}: ${text}`).toBeDefined();
    found.set(kind ?? '', (found.get(kind ?? '') ?? 0) + 1);
  }
  for (const [kind, count] of found) expect([kind, count]).not.toEqual([kind, 0]);
  for (const { kind, tests } of hintKinds) {
    expect([kind, tests.filter((path) => !existsSync(at(path)))]).toEqual([kind, []]);
    expect([kind, tests.length]).not.toEqual([kind, 0]);
  }
  for (const { kind, how, why } of hintKinds) expect([kind, how === 'told']).toEqual([kind, why !== undefined]);
});

it('shows the kinds and their tests in docs/reliability.md', () => {
  const page = readFileSync(at('docs/reliability.md'), 'utf8');
  const rows = hintKinds.map(
    ({ kind, tests, how, why }) =>
      `| ${kind} | ${how}${why === undefined ? '' : `: ${why}`} | ${tests.map((path) => `\`${path.replace(/^test\//, '')}\``).join(', ')} |`,
  );
  for (const row of rows) expect(page).toContain(row);
});
