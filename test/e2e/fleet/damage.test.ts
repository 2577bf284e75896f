import { appendFile, chmod, readFile, rm, stat, truncate, unlink, utimes, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { domains, guest, Lab, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Members, domains, base images and records that are damaged or of others. */
describe('a damaged fleet', () => {
  let golden: string;
  const lab = Lab.use(async () => {
    golden = await lab.golden('golden.qcow2', { ending: 'power-button' });
  });

  const spawned = (name: string, count: number, ...more: string[]) => lab.spawned(name, golden, count, ...more);

  it('one broken member does not hide the others, and each kind of damage is named', async () => {
    const fleet = await spawned('broken', 5, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '2-4');
    await unlink(lab.overlay(fleet, `${fleet}-002`));
    await virsh('undefine', `${fleet}-003`);
    await truncate(lab.overlay(fleet, `${fleet}-004`), 10);
    await virsh('suspend', `${fleet}-005`);
    const status = await lab.ok('status', fleet);
    expect(status.counts).toEqual({ running: 1, shutOff: 1, paused: 1, broken: 2, missing: 0 });
    expect(status.members[1]).toMatchObject({ state: 'broken', problems: ['overlay is missing'] });
    expect(status.members[2]).toMatchObject({ state: 'broken', problems: ['domain is missing'] });

    const start = await lab.answer('start', fleet);
    expect(start.exitCode).toBe(4);
    expect(start.json.counts).toMatchObject({ failed: 3, unchanged: 1, started: 1 });
    // A damaged overlay is found before libvirt opens it.
    expect(start.json.members[3]).toMatchObject({ outcome: 'failed', error: { message: expect.stringContaining('overlay is damaged') } });
    // spawn creates what is missing, reset repairs the rest.
    expect((await lab.answer('spawn', fleet)).exitCode).toBe(4);
    const outcome = await lab.ok('reset', fleet, '--start', 'all');
    expect(outcome.counts).toMatchObject({ reset: 5, started: 5 });
    expect((await lab.ok('status', fleet)).counts.running).toBe(5);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('never changes a foreign domain with a member’s name', async () => {
    const fleet = lab.fleet('foreign');
    await lab.defineForeign(`${fleet}-002`);
    const foreign = await virsh('dumpxml', `${fleet}-002`);
    const refused = await lab.answer('spawn', fleet, '--base', golden, '--count', '3', ...guest);
    expect(refused.exitCode).toBe(7);
    expect(refused.json.error).toMatchObject({ code: 'FOREIGN_DOMAIN', message: expect.stringContaining('nothing was changed') });
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([`${fleet}-002`]);
    await virsh('undefine', `${fleet}-002`);

    // A member is replaced by a foreign domain with the same UUID.
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, '--no-start');
    const uuid = (await lab.ok('status', fleet)).members[1].uuid;
    await virsh('undefine', `${fleet}-002`);
    await lab.defineForeign(`${fleet}-002`, `<uuid>${uuid}</uuid>`);
    expect((await lab.answer('reset', fleet)).exitCode).toBe(4);
    const partial = await lab.answer('teardown', fleet, '--yes');
    expect(partial).toMatchObject({ exitCode: 4, json: { counts: { removed: 1, failed: 1 } } });
    expect(partial.json.members[1].error.hint).toContain(`virsh undefine ${fleet}-002`);
    const left = await virsh('dumpxml', `${fleet}-002`);
    expect(left.replace(/<uuid>.*/, '')).toBe(foreign.replace(/<uuid>.*/, ''));
    expect((await lab.ok('status', fleet)).members[0].overlayBytes).toBeGreaterThan(0);
    await virsh('undefine', `${fleet}-002`);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('refuses a word that is not a member, instead of using all members', async () => {
    const fleet = await spawned('typo', 2);
    for (const word of ['', '1..2', '1:2', `${fleet}_001`, 'lab_3', 'nonesuch']) {
      const { exitCode } = await lab.answer('teardown', fleet, word, '--yes');
      expect([word, [2, 5].includes(exitCode)]).toEqual([word, true]);
      expect((await lab.answer('reset', fleet, word)).exitCode).toBe(exitCode);
    }
    expect((await lab.ok('status', fleet)).counts.running).toBe(2);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('never combines a disk with memory or a domain that does not match it', async () => {
    const fleet = await spawned('pairs', 4, '--wait', 'console=^OK');
    const disk = (index: number): string => lab.overlay(fleet, `${fleet}-00${index}`);
    // Saved memory is removed with its disk.
    await virsh('managedsave', `${fleet}-001`);
    expect((await lab.ok('reset', fleet, '1')).counts).toMatchObject({ reset: 1, started: 0 });
    expect(await virsh('dominfo', `${fleet}-001`)).toMatch(/Managed save:\s+no/);
    await lab.ok('start', fleet, '1');
    // A renamed member still runs on its overlay.
    await lab.ok('stop', fleet, '2');
    await virsh('domrename', `${fleet}-002`, `${fleet}-old`);
    await virsh('start', `${fleet}-old`);
    // With an external snapshot, its overlay is a backing file.
    await virsh(
      'snapshot-create-as',
      `${fleet}-003`,
      's',
      '--disk-only',
      '--no-metadata',
      '--diskspec',
      `vda,file=${lab.store}/fleets/${fleet}/overlays/snap`,
    );
    const before = [(await stat(disk(2))).ino, (await stat(disk(3))).ino];

    const reset = await lab.answer('reset', fleet);
    expect(reset).toMatchObject({ exitCode: 4, json: { counts: { reset: 2, failed: 2 } } });
    expect(reset.json.members[1].error.message).toContain(`renamed to ${fleet}-old`);
    expect(reset.json.members[2].error.hint).toContain(`virsh blockcommit ${fleet}-003 vda --base ${disk(3)}`);
    expect((await lab.answer('teardown', fleet, '2', '--yes')).exitCode).toBe(4);
    expect([(await stat(disk(2))).ino, (await stat(disk(3))).ino]).toEqual(before);
    expect((await lab.ok('status', fleet)).members[1].problems).toEqual([`its domain was renamed to ${fleet}-old`]);

    await virsh('destroy', `${fleet}-old`);
    await virsh('domrename', `${fleet}-old`, `${fleet}-002`);
    const torn = await lab.ok('teardown', fleet, '--yes');
    expect(torn.notes.join()).toContain('/snap');
  });

  longIt('refuses a changed base image, with exit 7', async () => {
    const fleet = lab.fleet('tamper');
    const own = await lab.golden('tamper.qcow2', { filledMiB: 1 });
    const { base } = await lab.ok('spawn', fleet, '--base', own, '--count', '2', ...guest);
    const { path } = await lab.ok('base', 'inspect', base.name);
    expect((await stat(path)).mode & 0o777).toBe(0o440);
    expect((await lab.answer('base', 'remove', base.name)).json.error).toMatchObject({
      code: 'BASE_IN_USE',
      message: expect.stringContaining(fleet),
    });
    await lab.ok('base', 'verify', base.name);

    await chmod(path, 0o644);
    await appendFile(path, 'x');
    for (const verb of [
      ['reset', fleet],
      ['spawn', fleet],
      ['start', fleet],
      ['base', 'verify', base.name],
    ]) {
      const plain = await lab.cowherd(...verb);
      const json = await lab.cowherd(...verb, '--json');
      expect([verb[0], plain.exitCode, json.exitCode, json.json.error.code]).toEqual([verb[0], 7, 7, 'BASE_CHANGED']);
      expect(plain.stderr).toContain('→');
    }
    const status = await lab.ok('status', fleet);
    expect(status.base.problem).toContain('size');
    expect(status.counts.broken).toBe(2);
    expect((await lab.ok('report', fleet)).members).toBe(2);

    // Importing the original file repairs it.
    await lab.ok('base', 'add', own, '--name', base.name);
    await lab.ok('base', 'verify', base.name);
    expect((await lab.ok('reset', fleet)).counts.reset).toBe(2);
    // A changed mtime is also found.
    await utimes(path, new Date(0), new Date(0));
    expect((await lab.answer('reset', fleet)).exitCode).toBe(7);
    expect((await lab.ok('teardown', fleet, '--yes')).counts.removed).toBe(2);
  });

  it('rebuilds a lost fleet.json from the domains', async () => {
    const fleet = await spawned('lost', 3);
    const path = lab.path('fleets', fleet, 'fleet.json');
    const record = JSON.parse(await readFile(path, 'utf8'));
    await rm(path);
    const lost = await lab.answer('status', fleet);
    expect(lost.exitCode).toBe(5);
    expect(lost.json.error.hint).toContain('--recover');
    expect((await lab.ok('list')).fleets.find((item: { fleet: string }) => item.fleet === fleet).problem).toContain('fleet.json');
    expect((await lab.ok('status', fleet, '--recover')).counts.running).toBe(3);
    const { createdAt: _, ...rebuilt } = JSON.parse(await readFile(path, 'utf8'));
    expect(record).toMatchObject(rebuilt);
    expect((await lab.ok('spawn', fleet)).counts.unchanged).toBe(3);

    await writeFile(path, '{"version": 1, "id"');
    expect((await lab.answer('status', fleet)).exitCode).toBe(7);
    await lab.ok('status', fleet, '--recover');
    await lab.ok('teardown', fleet, '--yes');
  });
});
