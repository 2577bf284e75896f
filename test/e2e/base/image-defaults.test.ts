import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, inject, it } from 'vitest';
import { Lab, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** New fleets get defaults from what is in their image: real Linux guests. */
describe('defaults of an image', () => {
  const lab = Lab.use(async () => {
    await lab.ok('base', 'add', inject('tinyImage'), '--name', 'tiny');
  });
  const machine = ['--memory', '128MiB', '--network', 'none', '--count', '1'];
  const hostname = async (fleet: string): Promise<string> =>
    (await lab.ok('exec', fleet, '--via', 'agent', '--', 'hostname')).members[0].stdout.trim();
  const hasSeed = (fleet: string): Promise<boolean> =>
    stat(lab.path('fleets', fleet, 'seeds', `${fleet}-001.iso`)).then(
      () => true,
      () => false,
    );
  /** A copy of the image whose boot code is removed: only UEFI can boot it. */
  const onlyUefi = async (): Promise<string> => {
    const [raw, image] = [join(lab.scratch, 'uefi.raw'), join(lab.scratch, 'uefi.qcow2')];
    await execa('mkdir', ['-p', lab.scratch]);
    await execa('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', inject('tinyImage'), raw]);
    await execa('dd', ['if=/dev/zero', `of=${raw}`, 'bs=440', 'count=1', 'conv=notrunc', 'status=none']);
    await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, image]);
    return image;
  };

  it('are shown, and a new fleet gets them', async () => {
    const shown = await lab.ok('base', 'inspect', 'tiny');
    expect(shown).toMatchObject({
      contents: { os: { id: 'tiny-linux' }, cloudInit: true, agent: true, firmware: 'both' },
      defaults: { seed: 'nocloud', wait: 'agent', firmware: null, memoryMiB: null, sshUser: null },
    });
    expect((await lab.cowherd('base', 'inspect', 'tiny')).stdout).toMatch(/^defaults +seed nocloud, wait agent$/m);

    const fleet = lab.fleet('seeded');
    const spawned = await lab.ok('spawn', fleet, '--base', 'tiny', ...machine, '--wait', 'auto');
    expect(spawned.notes).toContain('from the image: seed nocloud');
    expect(await hasSeed(fleet)).toBe(true);
    // The guest has read it, and the agent answers at once.
    expect(await hostname(fleet)).toBe(`${fleet}-001`);
    expect((await lab.ok('reset', fleet, '--wait', 'auto')).counts).toMatchObject({ reset: 1, failed: 0 });
    expect(await hostname(fleet)).toBe(`${fleet}-001`);
    expect((await lab.ok('checkpoint', fleet, '--wait', 'auto')).counts).toMatchObject({ checkpointed: 1 });
    // What is recorded stays, and is not told again.
    expect((await lab.ok('spawn', fleet, '--count', '1')).notes.join()).not.toContain('from the image');

    await lab.ok('checkpoint', fleet, '--drop');
    await lab.ok('stop', fleet, '--force');
    expect(await lab.ok('promote', `${fleet}-001`, '--as', 'promoted')).toMatchObject({
      contents: { cloudInit: true, agent: true },
      defaults: { seed: 'nocloud', wait: 'agent' },
    });
    expect((await lab.ok('rebase', fleet, '--base', 'promoted', '--wait', 'auto')).counts).toMatchObject({ failed: 0 });
    await lab.ok('teardown', fleet, '--yes');
  });

  it('give way to flags', async () => {
    const fleet = lab.fleet('plain');
    const spawned = await lab.ok('spawn', fleet, '--base', 'tiny', ...machine, '--seed', 'none', '--no-start');
    expect(spawned.notes.join()).not.toContain('from the image');
    expect(await hasSeed(fleet)).toBe(false);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('are nothing for an image without an operating system, and --wait auto says so', async () => {
    const golden = await lab.golden('golden.qcow2');
    const fleet = lab.fleet('bare');
    const refused = await lab.answer('spawn', fleet, '--base', golden, ...machine, '--wait', 'auto');
    expect(refused).toMatchObject({ exitCode: 2, json: { error: { code: 'BAD_USAGE', hint: expect.stringContaining('--wait agent') } } });
    expect((await lab.answer('status', fleet)).json.error.code).toBe('FLEET_NOT_FOUND');
    const spawned = await lab.ok('spawn', fleet, '--base', golden, ...machine, '--no-start');
    expect(spawned.notes.join()).not.toContain('from the image');
    expect((await lab.answer('start', fleet, '--wait', 'auto')).json.error.code).toBe('BAD_USAGE');
    await lab.ok('teardown', fleet, '--yes');
  });

  it('are UEFI if nothing else boots the image', async () => {
    const fleet = lab.fleet('uefi');
    const { notes } = await lab.ok('spawn', fleet, '--base', await onlyUefi(), ...machine, '--no-start');
    expect(notes).toContain('from the image: seed nocloud, firmware uefi');
    expect(await virsh('dumpxml', `${fleet}-001`)).toMatch(/pflash|firmware=['"]efi/);
    await lab.ok('teardown', fleet, '--yes');
  });

  longIt('boot an image that only UEFI can boot', async () => {
    const fleet = lab.fleet('boots');
    const words = ['--memory', '256MiB', '--network', 'none', '--count', '1', '--wait', 'auto', '--timeout', '5m'];
    await lab.ok('spawn', fleet, '--base', await onlyUefi(), ...words);
    expect(await hostname(fleet)).toBe(`${fleet}-001`);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('do not stand in the way of --boot-once', async () => {
    const fleet = lab.fleet('once');
    const outcome = await lab.ok(
      'spawn',
      fleet,
      '--base',
      'tiny',
      '--memory',
      '128MiB',
      '--network',
      'none',
      '--count',
      '2',
      '--boot-once',
    );
    expect(outcome).toMatchObject({ counts: { created: 2, started: 2, failed: 0 } });
    expect(outcome.notes).toContain('from the image: seed smbios');
    expect(await hostname(fleet)).toBe(`${fleet}-001`);
    await lab.ok('teardown', fleet, '--with-base', '--yes');
  });
});
