import { afterEach, describe, expect, it } from 'vitest';
import { nameConnection, repeatFlags, withFlags, withFlagsIn } from '../../../src/cli/terminal/repeated-flags.js';
import { allHints } from '../../support/hints/all-hints.js';

const commands = ['base', 'base:add', 'resume', 'reset', 'snapshot:take', 'start', 'status', 'verify'];

describe('commands in hints', () => {
  afterEach(() => {
    repeatFlags({ commands });
    nameConnection('qemu:///system', 'qemu:///system');
  });

  it('stay as they are without flags', () => {
    repeatFlags({ commands });
    nameConnection('qemu:///system', 'qemu:///system');
    const text = 'Finish it: cowherd resume lab, or "virsh start lab-001".';
    expect(withFlags(text)).toBe(text);
  });

  it.each([
    ['Finish it: cowherd resume lab', 'Finish it: cowherd resume --store /srv/x --connect qemu:///system lab'],
    ['"cowherd verify" checks it', '"cowherd verify --store /srv/x --connect qemu:///system" checks it'],
    ['cowherd base add FILE --name golden', 'cowherd base add --store /srv/x --connect qemu:///system FILE --name golden'],
    [
      'cowherd status a; cowherd start b',
      'cowherd status --store /srv/x --connect qemu:///system a; cowherd start --store /srv/x --connect qemu:///system b',
    ],
    // Sentences, paths and longer words.
    ['cowherd does not touch it, nor /usr/bin/cowherd start', 'cowherd does not touch it, nor /usr/bin/cowherd start'],
    ['cowherd status-quo', 'cowherd status-quo'],
  ])('repeat --store and --connect: %s', (text, expected) => {
    repeatFlags({ commands, store: '/srv/x', connect: 'qemu:///system' });
    expect(withFlags(text)).toBe(expected);
    expect(withFlags(withFlags(text))).toBe(expected);
  });

  it('quote a store for the shell', () => {
    repeatFlags({ commands, store: "/srv/a b's" });
    expect(withFlags('cowherd resume lab')).toBe(`cowherd resume --store '/srv/a b'\\''s' lab`);
  });

  it.each([
    ['virsh undefine lab-001', 'virsh -c qemu:///system undefine lab-001'],
    [
      '"virsh net-dumpxml default" and "virsh domblklist lab-001"',
      '"virsh -c qemu:///system net-dumpxml default" and "virsh -c qemu:///system domblklist lab-001"',
    ],
    ['virsh -c qemu:///system list', 'virsh -c qemu:///system list'],
    ['virsh has no such command; virsh started', 'virsh has no such command; virsh started'],
  ])('name a connection that is not that of virsh: %s', (text, expected) => {
    nameConnection('qemu:///system', 'qemu:///session');
    expect(withFlags(text)).toBe(expected);
    expect(withFlags(expected)).toBe(expected);
  });

  it('name the connection to virsh in every hint of the sources', () => {
    nameConnection('qemu:///system', 'qemu:///session');
    const missed = allHints().flatMap(({ text }) =>
      [...withFlags(text).matchAll(/(?<![\w/.-])virsh ([a-z][\w-]*)/g)].map(([, word]) => word),
    );
    // "the virsh of libvirt", "runs virsh with LC_ALL=C"
    expect([...new Set(missed)].sort()).toEqual(['of', 'with']);
  });

  it('are changed in the hints and notes of a document only', () => {
    repeatFlags({ commands, store: '/x' });
    const members = [{ name: 'cowherd start', error: { message: 'cowherd start', hint: 'cowherd start lab' } }];
    expect(withFlagsIn({ fleet: 'cowherd start', notes: ['cowherd verify'], members, none: null, count: 3 })).toEqual({
      fleet: 'cowherd start',
      notes: ['cowherd verify --store /x'],
      members: [{ name: 'cowherd start', error: { message: 'cowherd start', hint: 'cowherd start --store /x lab' } }],
      none: null,
      count: 3,
    });
  });
});
