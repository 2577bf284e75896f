import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, until, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Rebase of a fleet onto another base image. */
describe('rebase', () => {
  let lab: Lab;
  let one: string;
  let two: string;
  let broken: string;
  beforeAll(async () => {
    lab = await Lab.open();
    one = await lab.golden('one.qcow2', { filledMiB: 1 });
    two = await lab.golden('two.qcow2', { filledMiB: 1 });
    // Boots, but never prints OK.
    broken = await lab.golden('broken.qcow2');
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 244 0 510', broken]);
    for (const image of [two, broken]) await lab.ok('base', 'add', image);
  });
  afterAll(() => lab.close());

  const bases = async (fleet: string): Promise<string[]> =>
    (await lab.ok('status', fleet)).members.map((member: { base: string }) => member.base.split('@')[0]);
  const sha256 = async (path: string): Promise<string> =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
  /** Identifies the base image by the second MiB of a member's disk, read through its overlay. */
  async function standsOn(fleet: string, member: string, image: string): Promise<boolean> {
    const read = async (path: string): Promise<string> =>
      (await execa('qemu-io', ['-U', '-r', '-f', 'qcow2', '-c', 'read -v 1M 512', path])).stdout.split('\n').slice(0, 32).join('\n');
    return (await read(lab.overlay(fleet, member))) === (await read(image));
  }

  it('moves a canary first, then the rest, and the old base image is unused', async () => {
    const fleet = lab.fleet('five');
    await lab.ok('spawn', fleet, '--base', one, '--count', '5', ...guest, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '5', '--timeout', '1s', '--force');
    const dry = await lab.ok('rebase', fleet, '--base', 'two', '--dry-run');
    expect(dry.plan.members).toHaveLength(5);
    expect(new Set(await bases(fleet))).toEqual(new Set(['one']));

    const outcome = await lab.ok('rebase', fleet, '--base', 'two', '--batch', '2', '--wait', 'console=^OK');
    expect(outcome.counts).toMatchObject({ rebased: 5, started: 4, failed: 0 });
    expect(await bases(fleet)).toEqual(Array(5).fill('two'));
    const status = await lab.ok('status', fleet);
    expect(status.counts).toMatchObject({ running: 4, shutOff: 1 });
    expect(status.newerBase).toBeNull();
    for (const index of ['001', '003', '005']) {
      expect(await standsOn(fleet, `${fleet}-${index}`, two)).toBe(true);
      expect(await virsh('dumpxml', '--inactive', `${fleet}-${index}`)).toContain('/bases/two/');
    }
    expect((await lab.ok('rebase', fleet, '--base', 'two')).notes.join()).toContain('already');
    expect((await lab.answer('base', 'remove', 'two')).exitCode).toBe(3);
    await lab.ok('base', 'remove', 'one');
    await lab.ok('teardown', fleet, '--yes');
  });

  it('stops at a canary that fails, and can return', async () => {
    const fleet = lab.fleet('canary');
    await lab.ok('spawn', fleet, '--base', one, '--count', '4', ...guest, '--wait', 'console=^OK');
    const uptime = async (): Promise<string> => virsh('dominfo', `${fleet}-003`);
    const before = await uptime();
    const { exitCode, json } = await lab.answer('rebase', fleet, '--base', 'broken', '--wait', 'console=^OK', '--timeout', '4s');
    expect(exitCode).toBe(4);
    expect(json.counts).toMatchObject({ failed: 1, unchanged: 3 });
    expect(json.notes.join()).toContain('a canary failed: members 2-4 were not changed');
    expect(await bases(fleet)).toEqual(['broken', 'one', 'one', 'one']);
    expect((await uptime()).match(/^Id:.*/m)?.[0]).toBe(before.match(/^Id:.*/m)?.[0]);
    // Each member keeps its base image: a reset does not move it, and both images are in use.
    await lab.ok('reset', fleet, '1-2');
    expect(await bases(fleet)).toEqual(['broken', 'one', 'one', 'one']);
    expect(await virsh('dumpxml', '--inactive', `${fleet}-001`)).toContain('/bases/broken/');
    for (const name of ['one', 'broken']) expect((await lab.answer('base', 'remove', name)).exitCode).toBe(3);
    // A lost record is rebuilt with both.
    await execa('rm', [lab.path('fleets', fleet, 'fleet.json')]);
    await lab.ok('status', fleet, '--recover');
    expect(await bases(fleet)).toEqual(['broken', 'one', 'one', 'one']);
    expect((await lab.ok('spawn', fleet, '--count', '5')).counts).toMatchObject({ created: 1 });
    expect((await bases(fleet))[4]).toBe('one');

    const back = await lab.ok('rebase', fleet, '--base', 'one', '--wait', 'console=^OK');
    expect(back.counts).toMatchObject({ rebased: 1, failed: 0 });
    expect(await bases(fleet)).toEqual(Array(5).fill('one'));
    await lab.ok('teardown', fleet, '--yes');
  });

  longIt('killed during the wait for a canary, it waits for it again', async () => {
    const fleet = lab.fleet('waiting');
    await lab.ok('spawn', fleet, '--base', one, '--count', '3', ...guest, '--wait', 'console=^OK');
    const run = lab.begin('rebase', fleet, '--base', 'broken', '--wait', 'console=^OK', '--timeout', '5s');
    const log = lab.path('fleets', fleet, 'operation.log');
    await until('a canary that is moved', async () => (await readFile(log, 'utf8').catch(() => '')).includes('done 1'));
    run.kill('SIGKILL');
    await run;
    await lab.unlocked();
    await virsh('destroy', `${fleet}-001`);
    // A member in an intermediate state is not started.
    expect((await lab.answer('start', fleet, '2')).exitCode).toBe(3);
    const { exitCode, json } = await lab.answer('resume', fleet);
    expect(exitCode).toBe(4);
    expect(json.notes.join()).toContain('members 2-3 were not changed');
    expect(json.members[0]).toMatchObject({ outcome: 'failed', step: 'wait' });
    expect(json.members.map((member: { outcome: string }) => member.outcome)).toEqual(['failed', 'unchanged', 'unchanged']);
    expect(await bases(fleet)).toEqual(['broken', 'one', 'one']);

    // If the record has another base image than an overlay, the member is neither started nor redefined.
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    const path = lab.path('fleets', fleet, 'fleet.json');
    const record = await readFile(path, 'utf8');
    await writeFile(path, JSON.stringify({ ...JSON.parse(record), base: JSON.parse(record).members[0].base }));
    for (const verb of ['start', 'spawn']) {
      const refused = await lab.answer(verb, fleet);
      expect(refused.exitCode).toBe(4);
      expect(refused.json.members[1].error.message).toMatch(/its overlay is based on .*\/bases\/one\/.*, not on broken@/);
    }
    await writeFile(path, record);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('interrupted and partly removed, it keeps the base images of the remaining members', async () => {
    const fleet = lab.fleet('down');
    await lab.ok('spawn', fleet, '--base', one, '--count', '3', ...guest);
    const run = lab.begin('rebase', fleet, '--base', 'two', '--wait', 'console=^NEVER');
    const log = lab.path('fleets', fleet, 'operation.log');
    await until('a canary that is moved', async () => (await readFile(log, 'utf8').catch(() => '')).includes('done 1'));
    run.kill('SIGKILL');
    await run;
    await lab.unlocked();
    // A domain that cannot be removed, since its owner is unknown.
    await virsh('destroy', `${fleet}-003`);
    await virsh('domrename', `${fleet}-003`, `${fleet}-away`);
    expect((await lab.answer('teardown', fleet, '--yes')).exitCode).toBe(4);
    expect((await bases(fleet)).at(-1)).toBe('one');
    expect((await lab.answer('base', 'remove', 'one')).exitCode).toBe(3);
    await virsh('domrename', `${fleet}-away`, `${fleet}-003`);
    await lab.ok('spawn', fleet, '--wait', 'console=^OK');
    expect(await virsh('dumpxml', '--inactive', `${fleet}-003`)).toContain('/bases/one/');
    await lab.ok('teardown', fleet, '--yes');
  });

  longIt('keeps the changes of stopped guests', async () => {
    const fleet = lab.fleet('drift');
    await lab.ok('spawn', fleet, '--base', one, '--count', '3', ...guest, '--wait', 'console=^OK');
    const refused = await lab.answer('rebase', fleet, '--base', 'two', '--keep-drift', '--canary', '0');
    expect(refused.exitCode).toBe(4);
    expect(refused.json.counts.failed).toBe(3);
    expect(await bases(fleet)).toEqual(['one', 'one', 'one']);
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    const member = `${fleet}-002`;
    const whole = `${lab.scratch}/whole.raw`;
    await execa('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', lab.overlay(fleet, member), whole]);
    const base = await lab.ok('base', 'inspect', 'two');
    const untouched = await sha256(base.path);
    const outcome = await lab.ok('rebase', fleet, '--base', 'two', '--keep-drift', '--canary', '0');
    expect(outcome.counts).toMatchObject({ rebased: 3, started: 0 });
    expect(await bases(fleet)).toEqual(['two', 'two', 'two']);
    await execa('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', whole, lab.overlay(fleet, member)]);
    expect(await sha256(base.path)).toBe(untouched);
    await lab.ok('start', fleet, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    expect((await lab.marker(fleet, member))?.boots).toBe(2);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('killed just before its end, it is completed by resume', async () => {
    const fleet = lab.fleet('end');
    await lab.ok('spawn', fleet, '--base', one, '--count', '2', ...guest, '--no-start');
    const faults = { KILL_ON: '^unlink .*operation.json$', KILL_AT: '1' };
    expect((await lab.faulty(faults, 'rebase', fleet, '--base', 'two')).signal).toBe('SIGKILL');
    expect((await lab.ok('resume', fleet)).counts).toMatchObject({ failed: 0, unchanged: 2 });
    expect(await bases(fleet)).toEqual(['two', 'two']);
    expect((await lab.ok('status', fleet)).unfinished).toBeUndefined();
    await lab.ok('teardown', fleet, '--yes');
  });

  longIt('is resumed after kill -9, with and without --keep-drift', async () => {
    const fleet = lab.fleet('killed');
    for (const keep of [[], ['--keep-drift']]) {
      await lab.ok('spawn', fleet, '--base', one, '--count', '5', ...guest, '--wait', 'console=^OK');
      if (keep.length > 0) await lab.ok('stop', fleet, '--timeout', '1s', '--force');
      const run = lab.begin('rebase', fleet, '--base', 'two', ...keep, '--batch', '2', '--concurrency', '1');
      const log = lab.path('fleets', fleet, 'operation.log');
      const done = async (): Promise<number> => (await readFile(log, 'utf8').catch(() => '')).split('\n').length - 1;
      await until('the second member', async () => (await done()) >= 2);
      run.kill('SIGKILL');
      await run;
      await lab.unlocked();
      expect(await done()).toBeLessThan(5);
      expect((await lab.ok('status', fleet)).unfinished).toMatchObject({ verb: 'rebase', total: 5 });
      expect((await lab.answer('reset', fleet)).exitCode).toBe(3);
      const outcome = await lab.ok('resume', fleet);
      expect(outcome.counts.failed).toBe(0);
      expect(await bases(fleet)).toEqual(Array(5).fill('two'));
      await lab.ok('start', fleet, '--wait', 'console=^OK');
      await lab.ok('stop', fleet, '--timeout', '1s', '--force');
      for (const index of [1, 5]) {
        expect((await lab.marker(fleet, `${fleet}-00${index}`))?.boots).toBe(keep.length > 0 ? 2 : 1);
        expect(await standsOn(fleet, `${fleet}-00${index}`, keep.length > 0 ? one : two)).toBe(true);
      }
      await lab.ok('teardown', fleet, '--yes');
    }
  });
});
