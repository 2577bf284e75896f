import { expect, it } from 'vitest';
import { withoutLeadingFlags } from '../../../src/cli/leading-flags.js';

const isCommand = (id: string): boolean => ['list', 'base:list', 'exec'].includes(id);

it.each([
  ['--connect openstack://lab list', 'list --connect openstack://lab'],
  ['-c openstack://lab base list', 'base list -c openstack://lab'],
  ['--connect=openstack://lab --store /s --json base list --x', 'base list --connect=openstack://lab --store /s --json --x'],
  ['-copenstack://lab exec lab -- ls -c x', 'exec -copenstack://lab lab -- ls -c x'],
  ['list --connect openstack://lab', 'list --connect openstack://lab'],
  ['exec lab -- virsh -c x list', 'exec lab -- virsh -c x list'],
  ['--help', '--help'],
  ['--connect openstack://lab', '--connect openstack://lab'],
  ['', ''],
])('%j is read as %j', (words, expected) => {
  expect(withoutLeadingFlags(words.split(' '), isCommand).join(' ')).toBe(expected);
});
