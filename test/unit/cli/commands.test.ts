import { fileURLToPath } from 'node:url';
import { Config } from '@oclif/core';
import { describe, expect, it } from 'vitest';

/** The command tree is an interface, so changes to it show here. */
describe('the command tree', async () => {
  const config = await Config.load(fileURLToPath(new URL('../../..', import.meta.url)));
  const own = config.commands
    .filter(({ pluginName, id, aliases }) => pluginName === 'cowherd' && !aliases.includes(id))
    .sort((a, b) => a.id.localeCompare(b.id));

  it('is this', () => {
    const tree = own.map(({ id, args, flags, aliases }) =>
      [
        [id.replaceAll(':', ' '), ...aliases].join('|'),
        ...Object.keys(args).map((arg) => arg.toUpperCase()),
        ...Object.keys(flags)
          .sort()
          .map((flag) => `--${flag}`),
      ].join(' '),
    );
    expect(tree).toMatchSnapshot();
  });

  it.each(own.map((command) => [command.id, command] as const))('%s has a summary, examples and a word on every flag', (_id, command) => {
    expect(command.summary).toMatch(/\.$/);
    expect(command.examples?.length).toBeGreaterThan(0);
    for (const flag of Object.values(command.flags))
      expect([flag.name, flag.description ?? flag.summary]).toEqual([flag.name, expect.any(String)]);
    // These hand over the terminal, so they have no JSON output.
    expect(command.enableJsonFlag).toBe(!['ssh', 'console'].includes(command.id));
  });
});
