import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LocalMachine } from '../../../src/adapters/host/machine.js';
import type { Ports } from '../../../src/ports/index.js';
import { checkKsm } from '../../../src/services/preflight/host-checks.js';

/** A simulated machine whose kernel reports less, or other data. */
describe('the memory that a kernel reports', () => {
  let root: string;
  let machine: LocalMachine;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-kernel-'));
    machine = new LocalMachine({ proc: join(root, 'proc'), ksm: join(root, 'ksm') });
    await mkdir(join(root, 'proc'));
    await writeFile(join(root, 'proc', 'stat'), 'cpu 1 2 3\nbtime 1700000000\n');
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  const ticks = (start: number, name = 'qemu-system-x86'): string =>
    `7 (${name}) S ${Array.from({ length: 18 }, () => 0).join(' ')} ${start} 0\n`;
  async function process(pid: number, files: Record<string, string>): Promise<void> {
    await mkdir(join(root, 'proc', String(pid)));
    for (const [name, text] of Object.entries(files)) await writeFile(join(root, 'proc', String(pid), name), text);
  }

  it('is found by the UUID of QEMU, with a reason for each unreadable part', async () => {
    const command = (uuid: string): string => ['/usr/bin/qemu', '-m', 'size=16384k', '-uuid', uuid, ''].join('\0');
    const status = 'VmRSS:\t 10 kB\nVmSwap:\t 0 kB\n';
    await process(1, { stat: ticks(5, 'bash'), cmdline: command('shell') });
    await process(7, {
      stat: ticks(100, 'qemu) S (x'),
      cmdline: command('whole'),
      status,
      smaps_rollup: 'Pss: 4 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 2 kB\n',
      ksm_stat: 'ksm_merging_pages 2\n',
    });
    await process(8, { stat: ticks(200), cmdline: command('old-kernel'), status });
    await process(9, {
      stat: ticks(300),
      cmdline: `${command('short')}\0-object\0memory-backend-file,id=cw.ram,mem-path=/x.ram`,
      status,
      smaps_rollup: 'Pss: 4',
    });
    await process(10, { stat: ticks(400), cmdline: command('ending'), status: 'Name: qemu\n', smaps_rollup: '' });
    await process(11, { stat: '11 (qemu', cmdline: command('torn') });
    await process(12, { stat: ticks(500), cmdline: '/usr/bin/qemu\0' });
    const found = await machine.qemuProcesses();
    expect([...found.keys()].sort()).toEqual(['ending', 'old-kernel', 'short', 'whole']);
    expect(found.get('whole')).toEqual({ pid: 7, startTicks: 100, startedAt: 1700000001000, guestBytes: 16 * 1024 ** 2, isSharing: false });

    expect(found.get('short')?.isSharing).toBe(true);

    // Pid 8 was reused by another process between the two reads.
    await writeFile(join(root, 'proc', '8', 'stat'), ticks(999));
    const read = await machine.processMemory([...found.values()]);
    expect(read.get(7)).toMatchObject({
      residentBytes: 10240,
      proportionalBytes: 4096,
      privateBytes: 3072,
      swapBytes: 0,
      mergedBytes: expect.any(Number),
      unread: undefined,
    });
    expect(read.get(7)?.mergedBytes).toBeGreaterThanOrEqual(8192);
    expect(read.get(8)).toEqual({ unread: 'ended' });
    expect(read.get(9)).toMatchObject({ residentBytes: 10240, proportionalBytes: undefined, unread: 'not supported' });
    expect(read.get(10)).toEqual({ unread: 'ended' });
    expect(
      (await machine.processMemory([{ pid: 4711, startTicks: 1, startedAt: 0, guestBytes: undefined, isSharing: false }])).get(4711),
    ).toEqual({
      unread: 'ended',
    });
  });

  it.each([
    [undefined, /^not available/, undefined],
    [{}, /cannot be read/, undefined],
    [{ run: '1', pages_shared: 'x', pages_sharing: '1' }, /cannot be read/, undefined],
    [{ run: '0', pages_shared: '0', pages_sharing: '0' }, /^off: no pages are merged$/, /echo 1 .*by timing/],
    [
      { run: '0', pages_shared: '1', pages_sharing: '9' },
      /^off: no new merges, still saves [\d.]+ [KM]iB now \(10 pages kept as 1\)$/,
      /echo 1 /,
    ],
    [{ run: '2', pages_shared: '0', pages_sharing: '0' }, /^off: /, /echo 1 /],
    [
      { run: '1', pages_shared: '1', pages_sharing: '9', ksm_zero_pages: '3', full_scans: '6' },
      /^on: saves .*10 pages kept as 1, 3 empty ones dropped\), after 6 full scans$/,
      /by timing.*echo 2 /,
    ],
  ])('with KSM as %j', async (files, message, hint) => {
    const ksm = join(root, 'ksm');
    await rm(ksm, { recursive: true, force: true });
    if (files !== undefined) await mkdir(ksm);
    for (const [name, text] of Object.entries(files ?? {})) await writeFile(join(ksm, name), `${text}\n`);
    const check = await checkKsm({ machine } as unknown as Ports);
    expect(check).toMatchObject({ name: 'ksm', status: 'ok', message: expect.stringMatching(message) });
    if (hint === undefined) expect(check.hint).toBeUndefined();
    else expect(check.hint).toMatch(hint);
  });
});
