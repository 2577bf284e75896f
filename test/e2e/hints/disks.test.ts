import { stat } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { follow, run } from '../../support/hints/follow.js';
import { guest, Lab, until, virsh } from '../../support/lab.js';

/** Disks of members that other tools have changed: the error explains the change, and the hint keeps the data. */
describe('disks changed by other tools', () => {
  let lab: Lab;
  let fleet: string;
  const name = (index: number): string => `${fleet}-00${index}`;
  const overlay = (index: number): string => lab.overlay(fleet, name(index));
  const boots = async (index: number): Promise<number | undefined> => (await lab.marker(fleet, name(index)))?.boots;
  const booted = ['--wait', 'console=^OK'];

  beforeAll(async () => {
    lab = await Lab.open();
    fleet = lab.fleet('disks');
    const golden = await lab.golden('golden.qcow2', { ending: 'power-button' });
    await lab.ok('spawn', fleet, '--base', golden, '--count', '6', ...guest, ...booted);
  });
  afterAll(() => lab.close());

  const stop = (...indexes: number[]) => lab.ok('stop', fleet, indexes.join(','));
  const start = (index: number) => lab.ok('start', fleet, String(index), ...booted);
  const findings = async (...args: string[]): Promise<any[]> => (await lab.answer('verify', ...args)).json.findings;
  const refusal = async (...args: string[]): Promise<any> => {
    const { json } = await lab.answer(...args);
    return json.error ?? json.members.find((member: any) => member.error !== undefined).error;
  };

  it('reports a disk that is open in another process as in use, not as damaged', async () => {
    await stop(1);
    const socket = `${lab.scratch}/nbd.sock`;
    const nbd = execa('qemu-nbd', ['-f', 'qcow2', '-t', '-k', socket, overlay(1)], { reject: false });
    await until('qemu-nbd to listen', async () => (await stat(socket).catch(() => undefined)) !== undefined);
    const inUse = `is in use: it is open in qemu-nbd (pid ${nbd.pid})`;
    const [found, ...others] = await findings('--deep');
    expect([found, others]).toMatchObject([{ kind: 'inUse', what: name(1), message: expect.stringContaining(inUse) }, []]);
    for (const verb of [
      ['promote', name(1), '--as', 'kept'],
      ['compact', fleet, '1'],
      ['start', fleet, '1'],
    ])
      expect([verb[0], await refusal(...verb)]).toMatchObject([verb[0], { message: expect.stringContaining(inUse), hint: found.hint }]);
    await follow(lab, found.hint);
    await nbd;
    expect(await findings('--deep')).toEqual([]);
    await start(1);
    await stop(1);
    expect(await boots(1)).toBe(2);
  });

  it('keeps the data of a disk after a blockpull has removed its backing file', async () => {
    await start(1);
    await virsh('blockpull', name(1), 'vda', '--wait');
    await stop(1);
    const before = (await boots(1)) ?? 0;
    const merged = 'no longer has a backing file';
    const [found] = await findings();
    expect(found).toMatchObject({ kind: 'mismatch', what: name(1), message: expect.stringContaining(merged) });
    for (const verb of [
      ['start', fleet, '1'],
      ['promote', name(1), '--as', 'kept'],
      ['compact', fleet, '1'],
    ])
      expect([verb[0], await refusal(...verb)]).toMatchObject([verb[0], { message: expect.stringContaining(merged), hint: found.hint }]);
    await follow(lab, found.hint);
    await until('the guest to have booted', async () => (await lab.console(fleet, name(1))).includes('OK '));
    await stop(1);
    expect(await boots(1)).toBe(before + 1);
    expect(await findings('--deep')).toEqual([]);
    await lab.ok('promote', name(1), '--as', 'kept');
    await lab.ok('compact', fleet, '1');
  });

  it('gives a member a bootable disk after a blockpull has shortened the chain in its domain', async () => {
    await virsh('blockpull', name(2), 'vda', '--wait');
    expect((await lab.ok('reset', fleet, '2', ...booted)).counts).toMatchObject({ reset: 1, failed: 0 });
    await stop(2);
    expect(await boots(2)).toBe(1);
    expect(await findings()).toEqual([]);
  });

  it('merges a snapshot of another tool, for a running and for a stopped member', async () => {
    for (const index of [3, 4]) await virsh('snapshot-create-as', name(index), 'before', '--disk-only');
    await stop(4);
    for (const index of [3, 4]) {
      const verb = index === 3 ? ['reset', fleet, '3'] : ['start', fleet, '4'];
      const { hint } = await refusal(...verb);
      expect((await refusal('promote', name(4), '--as', 'other')).hint).toContain(`virsh start ${name(4)}; virsh blockcommit`);
      expect((await findings()).find(({ what }) => what === name(index)).hint).toBe(hint);
      await follow(lab, hint);
    }
    expect(await findings()).toEqual([]);
    await stop(4);
    await start(4);
    expect((await lab.ok('reset', fleet, '3,4', ...booted)).counts).toMatchObject({ reset: 2, failed: 0 });
  });

  it('removes bitmaps, checkpoints and snapshots of libvirt before a disk is copied', async () => {
    await virsh('checkpoint-create-as', name(5), 'backup');
    await virsh('snapshot-create-as', name(5), 'before');
    await stop(5);
    await run(lab, `qemu-img bitmap --add ${overlay(5)} mine`);
    const { message, hint } = await refusal('promote', name(5), '--as', 'copied');
    expect(message).toContain('also contains');
    expect((await refusal('compact', fleet, '5')).hint).toBe(hint);
    await follow(lab, hint);
    await lab.ok('promote', name(5), '--as', 'copied');
    expect([await virsh('checkpoint-list', name(5), '--name'), await virsh('snapshot-list', name(5), '--name')]).toEqual(['', '']);
    await start(5);
  });

  it('leaves no libvirt records of snapshots or checkpoints after a reset', async () => {
    const make = async (): Promise<void> => {
      await virsh('checkpoint-create-as', name(5), 'backup');
      await virsh('snapshot-create-as', name(6), 'before');
    };
    await make();
    await stop(6);
    await lab.ok('reset', fleet, '5,6', '--start', 'all', ...booted);
    expect([await virsh('checkpoint-list', name(5), '--name'), await virsh('snapshot-list', name(6), '--name')]).toEqual(['', '']);
    // These failed or stopped the guest while libvirt still had records of the old disk.
    await make();
    await virsh('snapshot-revert', name(6), 'before');
  });
});
