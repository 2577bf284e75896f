import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { faulty } from '../../support/flaky-libvirt.js';
import { HungQemus } from '../../support/hung.js';
import { guest, Lab, until, virsh } from '../../support/lab.js';

/** QEMU continues to save after cowherd stopped waiting: that snapshot has no record. */
describe('a checkpoint that timed out', () => {
  let lab: Lab;
  let fleet: string;
  let qemus: HungQemus;
  const name = (index: number): string => `${fleet}-00${index}`;
  const tags = async (index: number): Promise<string[]> =>
    (await execa('qemu-img', ['snapshot', '-U', '-l', lab.overlay(fleet, name(index))])).stdout.match(/cowherd-[0-9a-f]{12}/g) ?? [];

  beforeAll(async () => {
    lab = await Lab.open();
    qemus = new HungQemus(lab);
    fleet = lab.fleet('stray');
    const machine = [...guest, '--virt-type', 'qemu', '--disk', '32MiB'];
    await lab.ok('spawn', fleet, '--base', await lab.golden('golden.qcow2'), '--count', '2', ...machine, '--wait', 'console=^OK');
  });
  afterAll(async () => {
    await qemus.goOn();
    await lab.close();
  });

  /** Stops the first member's QEMU while it saves, and continues it after cowherd has exited. @returns the tag of the stray snapshot */
  const timedOut = async (): Promise<string> => {
    const before = await tags(1);
    try {
      await qemus.watch(name(1));
      const stop = `kill -STOP ${await HungQemus.pidOf(name(1))}`;
      const { exitCode, json } = await faulty(
        lab,
        { match: `${name(1)}.*snapshot-save`, do: 'then', text: stop },
        '3s',
        'checkpoint',
        fleet,
      );
      expect(exitCode, JSON.stringify(json)).toBe(4);
      expect(json.members.map((row: any) => row.outcome)).toEqual(['failed', 'checkpointed']);
      expect(json.members[0].error).toMatchObject({
        code: 'TOOL_TIMEOUT',
        message: expect.stringContaining(name(1)),
        hint: expect.stringContaining(`virsh domcontrol ${name(1)}`),
        details: expect.arrayContaining([expect.stringContaining(`cowherd verify ${fleet} --fix`)]),
      });
    } finally {
      await qemus.goOn();
    }
    // There is nothing to resume: the disk shows the result.
    expect((await lab.ok('resume', fleet)).operation.verb).toBe('resume');
    let stray: string | undefined;
    await until('QEMU to save it after all', async () => {
      stray = (await tags(1)).find((tag) => !before.includes(tag));
      return stray !== undefined;
    });
    return stray ?? '';
  };

  it('is found, counted, and removed while the guest is running', async () => {
    const stray = await timedOut();
    const { findings } = (await lab.answer('verify', fleet)).json;
    expect(findings).toMatchObject([{ kind: 'leftover', what: name(1), fixable: true, hint: expect.stringContaining('verify') }]);
    expect(findings[0].message).toContain(stray);
    expect(findings[0].bytes).toBeGreaterThan(100_000);
    const { overlays, perMember } = await lab.ok('report', fleet);
    expect(overlays.strayBytes).toBe(findings[0].bytes);
    expect(perMember.find((member: any) => member.name === name(1)).strayBytes).toBe(findings[0].bytes);
    expect((await lab.ok('verify', fleet, '--fix')).fixed).toBe(1);
    expect(await tags(1)).toEqual([]);
    expect((await lab.ok('report', fleet)).overlays.strayBytes).toBe(0);
    expect((await virsh('domstate', name(1))).trim()).toBe('running');
  });

  /** Creates the leftovers of such a timeout without the wait: QEMU's snapshot and its finished job. */
  const strayed = async (): Promise<string> => {
    const tag = `cowherd-${randomBytes(6).toString('hex')}`;
    const qmp = (execute: string, words = {}): Promise<string> =>
      virsh('qemu-monitor-command', name(1), JSON.stringify({ execute, arguments: words }));
    const devices = (JSON.parse(await qmp('query-block')).return as any[]).flatMap(({ inserted }) =>
      inserted?.ro === false ? [inserted['node-name']] : [],
    );
    await qmp('snapshot-save', { 'job-id': 'cowherd', tag, vmstate: devices[0], devices });
    await until('the snapshot', async () => (await tags(1)).includes(tag));
    return tag;
  };

  it.each<[string, () => Promise<unknown>, number]>([
    ['the next checkpoint', () => lab.ok('checkpoint', fleet), 1],
    ['a warm reset', () => lab.ok('reset', fleet, '--warm'), 1],
    ['a start', () => lab.ok('stop', fleet, '1', '--force', '--timeout', '1s').then(() => lab.ok('start', fleet, '1')), 1],
    ['the spawn that starts it', () => virsh('destroy', name(1)).then(() => lab.ok('spawn', fleet)), 1],
    ['the end of all checkpoints', () => lab.ok('checkpoint', fleet, '--drop'), 0],
    ['a cold reset', () => lab.ok('reset', fleet, '--wait', 'console=^OK'), 0],
  ])('is dropped by %s, and no other one with it', async (_, verb, kept) => {
    const stray = await strayed();
    expect((await lab.answer('verify', fleet)).json.findings).toMatchObject([{ kind: 'leftover', what: name(1) }]);
    await verb();
    const left = await tags(1);
    expect(left).not.toContain(stray);
    expect(left).toHaveLength(kept);
    expect((await lab.ok('verify', fleet)).findings).toEqual([]);
  });

  it('cannot be distinguished if the record is unreadable, and then nothing is removed', async () => {
    await lab.ok('checkpoint', fleet, '1');
    const path = lab.path('fleets', fleet, 'checkpoints', `${name(1)}.json`);
    await writeFile(path, '{');
    const { findings } = (await lab.answer('verify', fleet, '--fix')).json;
    expect(findings).toMatchObject([{ kind: 'damaged', what: name(1), fixed: false, hint: expect.stringContaining('--drop') }]);
    await lab.ok('stop', fleet, '1', '--force', '--timeout', '1s');
    await lab.ok('start', fleet, '1');
    expect(await tags(1)).toHaveLength(1);
    // Follow the hint.
    await lab.ok('checkpoint', fleet, '1', '--drop');
    expect([await tags(1), (await lab.ok('verify', fleet)).findings]).toEqual([[], []]);
  });
});
