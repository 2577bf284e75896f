import { describe, expect, it } from 'vitest';
import { type KnownFlag, separateGuestCommand } from '../../../src/cli/guest-command.js';
import { unknownCommand } from '../../../src/cli/unknown-command.js';

describe('a command after the name of a member', () => {
  const flags: KnownFlag[] = [
    { name: 'connect', char: 'c', type: 'option' },
    { name: 'store', type: 'option' },
    { name: 'quiet', char: 'q', type: 'boolean' },
  ];
  const separated = (line: string) => separateGuestCommand(line.split(' '), flags).join(' ');

  it.each([
    ['lab-003 uname -a', 'lab-003 -- uname -a'],
    ['lab 3 uname -a', 'lab 3 -- uname -a'],
    ['lab-003 df -h', 'lab-003 -- df -h'],
    ['lab-003 ls --help', 'lab-003 -- ls --help'],
    ['--store /x -c qemu:///session lab-003 --quiet ls -c', '--store /x -c qemu:///session lab-003 --quiet -- ls -c'],
    ['--store=/x lab-003 ls', '--store=/x lab-003 -- ls'],
    ['lab-003 --store /x ls', 'lab-003 --store /x -- ls'],
    ['lab-003 -- 3', 'lab-003 -- 3'],
    ['lab-003', 'lab-003'],
    ['lab 3', 'lab 3'],
    ['lab-003 --help', 'lab-003 --help'],
  ])('%s', (typed, meant) => {
    expect(separated(typed)).toBe(meant);
  });
});

describe('an unknown command', () => {
  const config = {
    bin: 'cowherd',
    commandIDs: ['spawn', 'status', 'base:add', 'base:list', 'snapshot:list'],
    topics: [{ name: 'base' }, { name: 'snapshot' }],
  };

  it.each([
    ['spwan:lab', 'Unknown command "spwan". Did you mean "spawn"?', '"cowherd --help"'],
    ['bsae:add', 'Unknown command "bsae". Did you mean "base"?', '"cowherd --help"'],
    ['base:lits', 'Unknown command "base lits". Did you mean "base list"?', '"cowherd base --help"'],
    ['xyzzy', 'Unknown command "xyzzy".', '"cowherd --help"'],
    ['--json', '"--json" is before the command; flags must follow it', '"cowherd COMMAND --json"'],
  ])('%s', (id, message, hint) => {
    expect(unknownCommand(id, config)).toMatchObject({ code: 'BAD_USAGE', exitCode: 2, message, hint: expect.stringContaining(hint) });
  });
});
