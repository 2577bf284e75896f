import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judgeFleetMemory, type MemorySubject } from '../../../../src/core/fleet/memory.js';
import { readKsm, savedByKsm } from '../../../../src/core/host/ksm.js';
import { readGuestMemory, readMerged, readPrivate, readProportional, readStatus } from '../../../../src/core/host/process-memory.js';

// From a real QEMU on Linux 6.18, shortened.
const rollup = `55d4e7072000-7ffe2c8c5000 ---p 00000000 00:00 0                          [rollup]
Rss:               44204 kB
Pss:               22701 kB
Pss_Dirty:         20112 kB
KSM:                   0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:    2048 kB
SwapPss:               0 kB
`;
const status = `Name:\tqemu-system-x86
VmPeak:\t  912340 kB
VmRSS:\t   44204 kB
VmSwap:\t     128 kB
HugetlbPages:\t    2048 kB
`;
const ksmStat = 'ksm_rmap_items 76800\nksm_zero_pages 0\nksm_merging_pages 64\nksm_process_profit 1048576\n';

describe('the memory of a process in /proc', () => {
  it('is read, including huge pages', () => {
    expect(readStatus(status)).toEqual({ residentBytes: (44204 + 2048) * 1024, swapBytes: 128 * 1024 });
    expect(readProportional(rollup)).toBe((22701 + 2048) * 1024);
    expect(readPrivate(`${rollup}Private_Clean: 12 kB\nPrivate_Dirty: 30 kB\n`)).toBe((12 + 30 + 2048) * 1024);
    expect(readPrivate(rollup)).toBeUndefined();
    expect(readMerged(ksmStat, 4096)).toBe(64 * 4096);
    expect(readMerged(ksmStat, 65536)).toBe(64 * 65536);
  });

  it.each([
    '',
    '\n',
    'Pss:',
    'Pss:  kB\n',
    'Pss: -1 kB\n',
    'Pss: 12 MB\n',
    'XPss:  1 kB\n',
    'Pss_Dirty:  1 kB\n',
    `Pss: ${'9'.repeat(40)} kB\n`,
  ])('is not made up from %j', (text) => {
    expect(readProportional(text)).toBeUndefined();
    expect(readStatus(text.replaceAll('Pss', 'VmRSS'))).toEqual({ residentBytes: undefined, swapBytes: undefined });
    expect(readMerged(text, 4096)).toBeUndefined();
  });

  it('is never smaller because the text is truncated', () => {
    for (let end = 0; end < rollup.length; end++)
      expect([undefined, 22701 * 1024, 24749 * 1024]).toContain(readProportional(rollup.slice(0, end)));
    for (let end = 0; end < status.length; end++) {
      expect([undefined, 44204 * 1024, 46252 * 1024]).toContain(readStatus(status.slice(0, end)).residentBytes);
    }
  });

  it.each([
    ['16', 16 * 1024 ** 2],
    ['16M', 16 * 1024 ** 2],
    ['size=16384k', 16 * 1024 ** 2],
    ['size=1G,slots=4,maxmem=8G', 1024 ** 3],
    ['size=2t', 2 * 1024 ** 4],
  ])('QEMU got -m %s', (argument, expected) => expect(readGuestMemory(argument)).toBe(expected));
  it.each(['', 'slots=4', 'size=', 'x16', '16X', '-16', '9'.repeat(30)])('-m %j says nothing', (argument) =>
    expect(readGuestMemory(argument)).toBeUndefined(),
  );
});

describe('the state of KSM', () => {
  const files = (more: Record<string, string> = {}) =>
    new Map(Object.entries({ run: '1\n', pages_shared: '10\n', pages_sharing: '90\n', ksm_zero_pages: '5\n', full_scans: '3\n', ...more }));

  it('is read: savings are pages shared beyond the first, and empty pages', () => {
    const ksm = readKsm(files(), 4096);
    expect(ksm).toEqual({ state: 'running', pagesShared: 10, pagesSharing: 90, zeroPages: 5, fullScans: 3, pageBytes: 4096 });
    expect(ksm && savedByKsm(ksm)).toBe(95 * 4096);
    expect(readKsm(files({ run: '0\n' }), 4096)?.state).toBe('stopped');
    expect(readKsm(files({ run: '2\n' }), 4096)?.state).toBe('unmerged');
    // Linux before 6.6 has no count of empty pages.
    expect(readKsm(files({ ksm_zero_pages: '' }), 4096)?.zeroPages).toBe(0);
  });

  it.each<Record<string, string>>([
    { run: '' },
    { run: '3' },
    { run: 'on' },
    { pages_sharing: '' },
    { pages_sharing: '-4' },
    { pages_shared: '1e9' },
  ])('is unknown with %j', (broken) => expect(readKsm(files(broken), 4096)).toBeUndefined());

  it('never throws', () => {
    const any = fc.dictionary(fc.constantFrom('run', 'pages_shared', 'pages_sharing', 'full_scans'), fc.string());
    fc.assert(fc.property(any, (texts) => void readKsm(new Map(Object.entries(texts)), 4096)));
  });
});

describe("a fleet's memory", () => {
  const known = { residentBytes: 40, proportionalBytes: 20, swapBytes: 3, mergedBytes: 5, privateBytes: 6 };
  const subject = (name: string, state: MemorySubject['state'], process?: MemorySubject['process']): MemorySubject => ({
    name,
    state,
    process,
  });

  it('covers running members, each with its actual memory', () => {
    const { members, fleet } = judgeFleetMemory(
      [
        subject('a', 'running', { guestBytes: 100, memory: known, isSharing: true }),
        subject('b', 'paused', { guestBytes: undefined, memory: known }),
        subject('c', 'shutOff'),
        subject('d', undefined),
      ],
      200,
      30,
    );
    expect([...members.keys()]).toEqual(['a', 'b']);
    expect(fleet).toEqual({
      on: 2,
      read: 2,
      guestBytes: 300,
      residentBytes: 80,
      proportionalBytes: 40,
      swapBytes: 6,
      mergedBytes: 10,
      privateBytes: 12,
      shared: { clones: 1, sharedBytes: 30, copiesBytes: 30 },
      notes: [],
    });
  });

  it('counts only readable members, and explains each kind of the others once', () => {
    const unread = (why: 'denied' | 'ended' | 'not supported') => ({ guestBytes: 100, memory: { unread: why } });
    const { members, fleet } = judgeFleetMemory(
      [
        subject('a', 'running', { guestBytes: 100, memory: known }),
        subject('b', 'running', { guestBytes: 100, memory: { residentBytes: 7, unread: 'denied' } }),
        subject('c', 'running', unread('denied')),
        subject('d', 'running', unread('ended')),
        subject('e', 'running', unread('not supported')),
        subject('f', 'running'),
      ],
      100,
    );
    expect(fleet).toMatchObject({ on: 6, read: 1, guestBytes: 600, residentBytes: 47, proportionalBytes: 20, mergedBytes: 5 });
    expect(members.get('b')).toMatchObject({ residentBytes: 7, proportionalBytes: null, mergedBytes: null });
    expect(fleet.notes).toEqual([
      expect.stringMatching(/^2 members: .*Run the command as root$/),
      expect.stringMatching(/^1 member: no QEMU process/),
      expect.stringMatching(/^1 member: ended/),
      expect.stringMatching(/^1 member: this kernel/),
    ]);
  });

  it('without readable members is unknown, not zero', () => {
    expect(judgeFleetMemory([subject('a', 'running')], 100).fleet).toMatchObject({
      on: 1,
      read: 0,
      residentBytes: null,
      proportionalBytes: null,
    });
    expect(judgeFleetMemory([], 100).fleet).toMatchObject({ on: 0, guestBytes: 0, residentBytes: null });
  });
});
