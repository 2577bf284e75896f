import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Config } from '@oclif/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { domains, guest, Lab } from '../../support/lab.js';

/** Hostile names. */
const hostile = [
  '..',
  '../../etc',
  '/etc/passwd',
  'a/b',
  'a\nb',
  'a b',
  '"a"',
  "'a'",
  '`id`',
  '$(id)',
  'a;id',
  'a|id',
  '<a>&lt;',
  'a\u0000b',
  'аbс', // Cyrillic
  'ａ', // full width
  'A',
  '%2e%2e',
  'a'.repeat(300),
  '{{a}}',
  '',
];

/** Other required arguments of a command; none of them exists. */
const harmless: Record<string, string> = {
  base: 'nosuch',
  domain: 'cwt-nosuch',
  member: 'cwt-nosuch-001',
  members: '1',
  fleet: 'cwt-nosuch',
};
/** Arguments that are files, directories or words for the guest may have any name. */
const free = new Set(['file', 'target', 'source', 'from', 'to', 'command', 'path', 'directory']);

/** Tries every argument of every command, including future commands. */
describe('hostile names', async () => {
  const config = await Config.load(fileURLToPath(new URL('../../..', import.meta.url)));
  // Commands without --json use the terminal: they are tested as processes below.
  const own = config.commands.filter(
    ({ pluginName, enableJsonFlag, id, aliases }) => pluginName === 'cowherd' && enableJsonFlag && !aliases.includes(id),
  );
  const cases = own.flatMap(({ id, args }) =>
    Object.keys(args)
      .filter((name) => !free.has(name))
      .map((name) => [id, name, Object.keys(args)] as const),
  );
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
    // A fleet that could be damaged.
    await lab.ok('spawn', lab.fleet('names'), '--base', await lab.golden('golden.qcow2'), '--count', '1', ...guest, '--no-start');
  });
  afterAll(() => lab.close());

  const world = async () => ({
    files: (await readdir(lab.store, { recursive: true })).filter((name) => !name.endsWith('.lock')).sort(),
    domains: (await domains()).filter((name) => name.includes(lab.id)),
  });

  it('covers the commands that take names', () => {
    expect(cases.length).toBeGreaterThan(25);
  });

  it.each(cases)('%s %s', async (id, tried, names) => {
    const before = await world();
    for (const word of hostile) {
      const words = names.slice(0, names.indexOf(tried) + 1).map((name) => (name === tried ? word : (harmless[name] ?? 'nosuch')));
      const flags = id === 'exec' ? ['--', 'true'] : id === 'promote' ? ['--as', 'x'] : id === 'rebase' ? ['--base', 'nosuch'] : [];
      const { exitCode, json } = await lab.answer(...id.split(':'), ...words, ...flags);
      expect([word, exitCode, json?.error?.code]).toEqual([word, expect.toBeOneOf([2, 3, 5]), expect.stringMatching(/^(?!BUG)/)]);
      expect(json.error.hint).toMatch(/./);
    }
    expect(await world()).toEqual(before);
  });

  it.each(['ssh', 'console'])('%s member', async (id) => {
    for (const word of ['..', 'a;id', 'a\nb', '{{a}}', 'a'.repeat(300)]) {
      const { exitCode, stderr } = await lab.cowherd(id, word);
      expect([word, exitCode]).toEqual([word, expect.toBeOneOf([2, 5])]);
      expect(stderr).toContain('→');
    }
  });

  it.each([
    ['--as of promote', (name: string) => ['promote', `${lab.fleet('names')}-001`, '--as', name]],
    ['--name of base add', (name: string) => ['base', 'add', `${lab.scratch}/golden.qcow2`, '--name', name]],
    ['--base of spawn', (name: string) => ['spawn', lab.fleet('never'), '--base', name, '--count', '1', ...guest]],
    ['--network of spawn', (name: string) => ['spawn', lab.fleet('never'), '--base', 'golden', '--count', '1', '--network', name]],
    [
      '--disk of spawn',
      (name: string) => ['spawn', lab.fleet('never'), '--base', 'golden', '--count', '1', ...guest, '--disk', `1MiB,name=${name}`],
    ],
    ['--name of snapshot take', (name: string) => ['snapshot', 'take', `${lab.fleet('names')}-001`, '--name', name]],
    ['--firmware of spawn', (name: string) => ['spawn', lab.fleet('never'), '--base', 'golden', '--count', '1', '--firmware', name]],
    ['--wait of start', (name: string) => ['start', lab.fleet('names'), '--wait', name]],
    ['--memory of spawn', (name: string) => ['spawn', lab.fleet('never'), '--base', 'golden', '--count', '1', '--memory', name]],
    ['--from-domain of spawn', (name: string) => ['spawn', lab.fleet('never'), '--from-domain', name, '--count', '1']],
  ])('%s', async (_what, wordsWith) => {
    const before = await world();
    // A path is a file's name for --base, and no command line has a NUL.
    for (const word of hostile.filter((one) => !/^\/etc|\0/.test(one))) {
      const { exitCode, json } = await lab.answer(...wordsWith(word));
      expect([word, exitCode, json?.error?.code]).toEqual([word, expect.toBeOneOf([2, 3, 5, 7]), expect.stringMatching(/^(?!BUG)/)]);
    }
    expect(await world()).toEqual(before);
  });
});
