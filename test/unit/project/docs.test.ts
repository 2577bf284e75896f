import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { Config } from '@oclif/core';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { withoutLeadingFlags } from '../../../src/cli/leading-flags.js';
import { parseConfig } from '../../../src/core/host/config-file.js';
import { parseCatalog } from '../../../src/core/image/catalog-file.js';
import { parseFleetFile } from '../../../src/core/spec/fleet-file.js';
import { anchorsOf, type Block, commandsOf, cowherdCalls, pages, readPage, repository, textOf } from '../../support/docs/pages.js';
import { planned } from '../../support/docs/plan.js';

const config = await Config.load(repository);
const blocks = pages.flatMap((page) => readPage(page).blocks);
const isGenerated = ({ page }: Block): boolean => page === 'docs/commands.md';
const at = ({ page, line }: { page: string; line: number }): string => `${page}:${line}`;

describe('the pages of the documentation', () => {
  it('show commands in sh and console blocks only, and each block is run by a test or has a reason not to be', () => {
    const shown = new Set<string>();
    for (const block of blocks.filter((one) => !isGenerated(one))) {
      const isCommands = ['sh', 'console', 'ts'].includes(block.language);
      if (!isCommands) expect(block.text, at(block)).not.toMatch(/^(\$ )?(sudo )?(cowherd|npm|virsh) /m);
      else {
        expect(Object.keys(planned), `${at(block)}: say in test/support/docs/plan.ts how the commands of this section are run`).toContain(
          block.section,
        );
        shown.add(block.section);
      }
    }
    expect(
      Object.keys(planned).filter((section) => !shown.has(section)),
      'sections of the plan without commands',
    ).toEqual([]);
  });

  it('have no indented commands', () => {
    const indented = pages.flatMap((page) =>
      readPage(page)
        .prose.filter(({ text }) => /^ {4,}(\$ )?(sudo )?(cowherd|npm|npx|virsh) /.test(text))
        .map(({ line }) => `${page}:${line}`),
    );
    expect(indented).toEqual([]);
  });

  it('show commands and flags that exist', () => {
    const wrong: string[] = [];
    for (const block of blocks) {
      const lines = isGenerated(block) ? generatedLines(block) : commandsOf(block).map(({ text }) => text);
      for (const line of lines) {
        for (const words of cowherdCalls(line)) wrong.push(...problemsOf(words).map((problem) => `${at(block)}: ${line}: ${problem}`));
      }
    }
    expect(wrong).toEqual([]);
  });

  it('mention commands and flags that exist', () => {
    const wrong: string[] = [];
    for (const page of pages) {
      const prose = readPage(page).prose.map(({ text }) => text.trim());
      for (const [, span = ''] of prose.join(' ').matchAll(/`(cowherd [a-z][^`]*)`/g)) {
        for (const words of cowherdCalls(span)) {
          wrong.push(...problemsOf(words, { isWhole: false }).map((problem) => `${page}: ${span}: ${problem}`));
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it('show fleet files, config files and catalogs that are valid', () => {
    const yaml = blocks.filter(({ language }) => language === 'yaml');
    expect(yaml.length).toBeGreaterThan(1);
    for (const block of yaml) {
      const document = parse(block.text);
      if ('images' in document) expect(parseCatalog(block.text, at(block)).images.length).toBeGreaterThan(0);
      else if ('fleets' in document || 'base' in document || 'image' in document)
        expect(parseFleetFile(document, at(block)).length).toBeGreaterThan(0);
      else expect(parseConfig(block.text, at(block), '/project', '/home/user')).toBeDefined();
    }
  });

  it('link to headings that exist', () => {
    const broken: string[] = [];
    for (const page of pages) {
      for (const [, path = '', anchor = ''] of textOf(page).matchAll(/\]\(([^)#\s:]*)#([^)\s]+)\)/g)) {
        const target = path === '' ? page : posix.normalize(posix.join(posix.dirname(page), path));
        if (!existsSync(posix.join(repository, target)) || !anchorsOf(target).includes(anchor)) broken.push(`${page}: ${path}#${anchor}`);
      }
    }
    expect(broken).toEqual([]);
  });

  it('avoid the words that docs/style.md replaces', () => {
    const avoided = /\b(nobody|somebody|whoever|amiss|anew|mend(s|ed)?|(stand|stands|stood) on|(go|goes|went|going) on|rewind|rewound)\b/i;
    const isQuoted = (page: string, text: string): boolean => page === 'docs/reliability.md' && text.startsWith('| ');
    const found = pages
      .filter((page) => page !== 'docs/style.md' && page !== 'docs/commands.md')
      .flatMap((page) => readPage(page).prose.map(({ line, text }) => ({ page, line, text })))
      .filter(({ page, text }) => avoided.test(text) && !isQuoted(page, text));
    expect(found).toEqual([]);
  });

  it('do not exceed their length limits', () => {
    expect(textOf('README.md').split('\n').length).toBeLessThanOrEqual(151);
    expect(textOf('docs/style.md').split('\n').length).toBeLessThanOrEqual(61);
  });
});

const generatedLines = ({ text }: Block): string[] =>
  (text.split('\nEXAMPLES\n')[1] ?? '')
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('$ '))
    .map((line) => line.slice(2));

/**
 * The problem for which oclif would refuse a command line.
 * @param words without `cowherd`
 * @param options.isWhole whether required arguments and flags must be present
 */
function problemsOf(given: readonly string[], { isWhole = true } = {}): string[] {
  const words = withoutLeadingFlags(given, (id) => config.findCommand(id) !== undefined);
  if (words.every((word) => word.startsWith('-'))) return [];
  const length = [2, 1].find((count) => config.findCommand(words.slice(0, count).join(':')) !== undefined);
  if (length === undefined) return config.topics.some(({ name }) => name === words[0]) ? [] : ['unknown command'];
  const command = config.findCommand(words.slice(0, length).join(':'), { must: true });
  const flags = Object.values(command.flags);
  const problems: string[] = [];
  const seen = new Set<string>();
  let positional = 0;
  for (let index = length; index < words.length; index++) {
    const word = words[index] ?? '';
    if (word === '--') {
      positional += words.length - index - 1;
      break;
    }
    if (!/^-./.test(word)) {
      positional++;
      // Words after the member are for the guest.
      if (command.id === 'ssh') break;
      continue;
    }
    const [, name = '', , inline] = /^(--?[^=]+)(=(.*))?$/s.exec(word) ?? [];
    const flag = flags.find((one) =>
      [`--${one.name}`, `-${one.char}`, ...(one.type === 'boolean' && one.allowNo ? [`--no-${one.name}`] : [])].includes(name),
    );
    if (flag === undefined) {
      if (name !== '--help') problems.push(`unknown flag ${name}`);
      continue;
    }
    seen.add(flag.name);
    if (flag.type === 'boolean') continue;
    const value = inline ?? words[++index];
    if (value === undefined && isWhole) problems.push(`${name} has no value`);
    const isPlaceholder = value === undefined || (!isWhole && /^[A-Z]+$/.test(value));
    if (!isPlaceholder && flag.options !== undefined && !flag.options.includes(value)) problems.push(`${name} does not take ${value}`);
  }
  if (!isWhole) return problems;
  const required = Object.values(command.args).filter((arg) => arg.required).length;
  if (positional < required) problems.push('an argument is missing');
  if (command.strict !== false && positional > Object.keys(command.args).length) problems.push('too many arguments');
  for (const flag of flags) if (flag.required && !seen.has(flag.name)) problems.push(`--${flag.name} is missing`);
  return problems;
}
