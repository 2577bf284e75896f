import { appendFile, chmod, readFile, rename, rm } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, guest, Lab, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** `base relocate` repairs a store that was moved or copied, and keeps the guests' changes. */
describe('base relocate', () => {
  let lab: Lab;
  let elsewhere: string;
  let fleet: string;
  let layered: string;
  beforeAll(async () => {
    lab = await Lab.open();
    elsewhere = `${lab.store}-moved`;
    fleet = lab.fleet('moved');
    layered = lab.fleet('layer');
    await lab.ok(
      'spawn',
      fleet,
      '--base',
      await lab.golden('golden.qcow2'),
      '--count',
      '3',
      ...guest,
      '--disk',
      '1MiB',
      '--wait',
      'console=^OK',
    );
    await lab.ok('stop', fleet, '1-2', '--timeout', '1s', '--force');
    await lab.ok('promote', `${fleet}-001`, '--as', 'upper', '--layered');
    await lab.ok('spawn', layered, '--base', 'upper', '--count', '1', ...guest, '--wait', 'console=^OK');
    await lab.ok('stop', layered, '--timeout', '1s', '--force');
  });
  afterAll(async () => {
    await rm(elsewhere, { recursive: true, force: true });
    await lab.close();
  });

  /** Runs cowherd on the store's new location. */
  async function there(...args: string[]): Promise<Answer['json']> {
    return (await lab.answer(...args, '--store', elsewhere)).json;
  }

  it('repairs a store that was moved', async () => {
    await rename(lab.store, elsewhere);
    const broken = await there('verify');
    expect(broken.findings.some(({ hint }: { hint: string }) => hint.includes('base relocate'))).toBe(true);
    expect((await there('start', fleet, '1')).counts.failed).toBe(1);

    // The third keeps running with its files open.
    const first = await there('base', 'relocate');
    expect(first).toMatchObject({ resealed: [], counts: { relocated: 3, failed: 1, unchanged: 0 } });
    expect(first.members.find(({ name }: { name: string }) => name === `${fleet}-003`).error).toMatchObject({ code: 'NOT_OFF' });
    await virsh('destroy', `${fleet}-003`);
    expect(await there('base', 'relocate', fleet)).toMatchObject({ counts: { relocated: 1, unchanged: 2, failed: 0 } });
    expect(await there('base', 'relocate')).toMatchObject({ counts: { relocated: 0, unchanged: 4 } });
    expect((await there('verify', '--deep')).findings).toEqual([]);
    for (const name of [fleet, layered]) expect((await there('start', name, '--wait', 'console=^OK')).counts.failed).toBe(0);
    await there('stop', fleet, '--timeout', '1s', '--force');
    await there('stop', layered, '--timeout', '1s', '--force');
    await rename(elsewhere, lab.store);
    await lab.ok('base', 'relocate');
    // The guests' changes are kept: their second boot, and on the layer the promoted one and two more.
    expect((await lab.marker(fleet, `${fleet}-001`))?.boots).toBe(2);
    expect((await lab.marker(fleet, `${fleet}-003`))?.boots).toBe(2);
    expect((await lab.marker(layered, `${layered}-001`))?.boots).toBe(3);
  });

  longIt('repairs a store that was moved while a verb was unfinished, and resume completes it', async () => {
    const newer = await lab.golden('newer.qcow2', { filledMiB: 1 });
    const names = [1, 2, 3].map((index) => `${fleet}-00${index}`);
    const verbs: Array<[string[], Record<string, string>]> = [
      [['reset', fleet, '--start', 'all'], { KILL_ON: '^rename .*-002.qcow2', KILL_AT: '1' }],
      [['rebase', fleet, '--base', 'newer', '--canary', '1'], { KILL_ON: '^virsh define', KILL_AT: '2' }],
      [['rebase', fleet, '--base', 'golden', '--keep-drift'], { KILL_ON: '^virsh define', KILL_AT: '2' }],
      [
        ['spawn', fleet, '--count', '4', '--memory', '17MiB', '--disk', '1MiB', '--disk', '1MiB'],
        { KILL_ON: '^virsh define', KILL_AT: '3' },
      ],
    ];
    await lab.ok('base', 'add', newer, '--name', 'newer');
    for (const [verb, faults] of verbs) {
      await lab.ok('stop', fleet, '--timeout', '1s', '--force');
      expect((await lab.faulty(faults, ...verb)).signal).toBe('SIGKILL');
      for (const name of names) await execa('virsh', ['-c', 'qemu:///system', 'destroy', name], { reject: false });
      await rename(lab.store, elsewhere);
      expect((await there('base', 'relocate', fleet)).counts).toMatchObject({ failed: 0, cancelled: 0 });
      const resumed = await lab.answer('resume', fleet, '--store', elsewhere);
      expect([verb[0], resumed.exitCode, resumed.json.counts?.failed]).toEqual([verb[0], 0, 0]);
      expect((await there('verify', fleet, '--deep')).findings).toEqual([]);
      await there('stop', fleet, '--timeout', '1s', '--force');
      await rename(elsewhere, lab.store);
      await lab.ok('base', 'relocate');
      expect((await lab.ok('verify')).findings).toEqual([]);
    }
    await lab.ok('teardown', fleet, '4', '--yes');
  });

  it('does not affect the guests of the original store when a copy is changed', async () => {
    await lab.ok('start', fleet, '1');
    await execa('cp', ['-a', lab.store, elsewhere]);
    for (const args of [
      ['teardown', fleet, '--yes'],
      ['stop', fleet, '1', '--timeout', '1s', '--force'],
    ]) {
      const refused = await lab.answer(...args, '--store', elsewhere);
      expect([args[0], refused.exitCode]).toEqual([args[0], 4]);
      expect(JSON.stringify(refused.json)).toContain(`--store ${lab.store}`);
    }
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 1, shutOff: 2 });
    await rm(elsewhere, { recursive: true });
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
  });

  it('accepts a copied base image if its content is the same', async () => {
    const { path, ref } = (await lab.ok('base', 'list')).bases.find(({ name }: { name: string }) => name === 'golden');
    await execa('cp', ['--sparse=always', path, `${path}.copy`]);
    await rename(`${path}.copy`, path);
    const changed = await lab.answer('start', fleet);
    expect(changed.exitCode).toBe(7);
    expect(changed.json.error.hint).toContain('base relocate');
    expect((await lab.ok('base', 'relocate')).resealed).toEqual([ref]);
    await lab.ok('start', fleet);
    expect((await lab.ok('verify')).findings).toEqual([]);
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
  });

  it('refuses changed content, and changes nothing', async () => {
    const { path } = (await lab.ok('base', 'list')).bases.find(({ name }: { name: string }) => name === 'upper');
    const record = path.replace(/\.qcow2$/, '.json');
    const before = await readFile(record, 'utf8');
    await chmod(path, 0o644);
    await appendFile(path, 'x');
    const refused = await lab.answer('base', 'relocate');
    expect(refused.exitCode).toBe(7);
    expect(refused.json.error).toMatchObject({ code: 'BASE_CHANGED', message: expect.stringContaining('its content differs') });
    expect(await readFile(record, 'utf8')).toBe(before);
  });
});
