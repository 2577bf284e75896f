import { fileURLToPath } from 'node:url';
import { Config } from '@oclif/core';
import { describe, expect, it } from 'vitest';
import GroupedHelp from '../../../src/cli/help.js';

describe('help', async () => {
  const config = await Config.load(fileURLToPath(new URL('../../..', import.meta.url)));
  const helpOf = (id: string): string[] => {
    const command = config.findCommand(id, { must: true });
    const help = new (class extends GroupedHelp {
      text(): string {
        return this.formatCommand(command);
      }
    })(config, { stripAnsi: true });
    return help.text().split('\n');
  };
  const headings = (lines: string[]): string[] => lines.filter((line) => /^[A-Z ]+$/.test(line) && line.endsWith('FLAGS'));

  it('groups the flags of spawn by topic, and does not group short lists', () => {
    expect(headings(helpOf('spawn'))).toEqual(
      ['', 'BASE IMAGE ', 'GUEST ', 'NETWORK ', 'LOGIN ', 'CLOUD ', 'READINESS ', 'RUN ', 'GLOBAL '].map((group) => `${group}FLAGS`),
    );
    expect(headings(helpOf('base:add'))).toEqual(['FLAGS', 'GLOBAL FLAGS']);
  });

  it.each(config.commands.filter(({ pluginName }) => pluginName === 'cowherd').map(({ id }) => id))('%s has a usage of one line', (id) => {
    const lines = helpOf(id);
    const usage = lines.indexOf('USAGE');
    expect(lines[usage + 1]?.trim()).toMatch(/^\$ cowherd .*\[FLAGS\]$/);
    expect(lines[usage + 2]?.trim()).toBe('');
  });
});
