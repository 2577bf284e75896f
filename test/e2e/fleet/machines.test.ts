import { createHash } from 'node:crypto';
import { copyFile, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { guest, Lab, until, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Firmware, TPM and further disks of members. */
describe('members with UEFI, TPM and further disks', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
  });
  afterAll(() => lab.close());

  const digest = async (path: string): Promise<string> =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
  const disk = (fleet: string, index: number, name: string): string => lab.overlay(fleet, `${fleet}-00${index}.${name}`);
  const isBlank = async (path: string): Promise<boolean> =>
    (await execa('qemu-img', ['map', '-U', '-f', 'qcow2', '--output=json', path])).stdout.includes('"data": true') === false;

  it('gives each its own blank disks: created, counted, blanked by a reset, removed with it', async () => {
    const fleet = lab.fleet('disks');
    const disks = ['--disk', '1GiB', '--disk', '64MiB,bus=scsi,name=logs', '--disk', '32MiB,bus=sata,name=data-9'];
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, ...disks, '--seed', 'nocloud', '--wait', 'console=^OK');
    const first = `${fleet}-001`;
    const targets = (await virsh('domblklist', first)).split('\n').map((line) => line.trim().split(/\s+/)[0]);
    expect(targets.filter(Boolean)).toEqual(expect.arrayContaining(['vda', 'vdb', 'vdc', 'sda', 'sdb']));
    expect(await virsh('dumpxml', first)).toMatch(/<serial>logs<\/serial>/);
    const info = JSON.parse((await execa('qemu-img', ['info', '-U', '-f', 'qcow2', '--output=json', disk(fleet, 1, 'data1')])).stdout);
    expect(info['virtual-size']).toBe(1024 ** 3);

    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    // Data of a guest.
    const before = await lab.ok('report', fleet);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 8M', disk(fleet, 1, 'data1')]);
    const after = await lab.ok('report', fleet);
    expect(after.overlays.driftBytes - before.overlays.driftBytes).toBeGreaterThan(8 * 1024 ** 2 - 1);
    expect((await lab.ok('status', fleet)).members[0].driftBytes).toBeGreaterThan(8 * 1024 ** 2);

    // Unused blocks of all disks are freed.
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0 0 8M', disk(fleet, 1, 'data1')]);
    const compacted = await lab.ok('compact', fleet, '1');
    expect(compacted.freedBytes).toBeGreaterThan(7 * 1024 ** 2);
    // Commands without a journal are in the history, too.
    const history = (await readFile(lab.path('fleets', fleet, 'history.jsonl'), 'utf8')).trim().split('\n');
    expect(history.map((line) => JSON.parse(line)).map(({ verb, done }) => `${verb} ${done}`)).toEqual([
      'spawn 1-2',
      'stop 1-2',
      'compact 1',
    ]);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 1M', disk(fleet, 1, 'data1')]);

    // A missing disk is recreated, and existing ones are kept.
    await execa('rm', [disk(fleet, 2, 'logs')]);
    expect((await lab.ok('status', fleet)).members[1]).toMatchObject({
      state: 'broken',
      problems: [expect.stringContaining('logs is missing')],
    });
    await lab.ok('spawn', fleet, '--no-start');
    expect(await isBlank(disk(fleet, 2, 'logs'))).toBe(true);
    expect(await isBlank(disk(fleet, 1, 'data1'))).toBe(false);

    await lab.ok('reset', fleet);
    expect(await isBlank(disk(fleet, 1, 'data1'))).toBe(true);
    const kept = await lab.answer('spawn', fleet, '--disk', '2GiB,name=data1');
    expect(kept.exitCode).toBe(2);
    expect(kept.json.error.message).toContain('data1');
    // A lost record is rebuilt: the number in a disk's name is not a member.
    await execa('rm', [lab.path('fleets', fleet, 'fleet.json')]);
    await lab.ok('status', fleet, '--recover');
    expect((await lab.ok('status', fleet)).members).toHaveLength(2);
    // A further one can be added.
    const all = [...disks, '--disk', '16MiB,name=more'];
    await lab.ok('spawn', fleet, ...all);
    expect(await isBlank(disk(fleet, 1, 'more'))).toBe(true);
    const outcome = await lab.ok('teardown', fleet, '--yes');
    expect(outcome.notes).toEqual([]);
    await expect(stat(lab.path('fleets', fleet))).rejects.toThrow();
  });

  it('gives each its own UEFI variables and TPM, and a reset restores them', async () => {
    const fleet = lab.fleet('uefi');
    const vars = join(lab.scratch, 'vars.fd');
    await copyFile('/usr/share/OVMF/OVMF_VARS_4M.ms.fd', vars);
    const machine = ['--memory', '128MiB', '--network', 'none', '--firmware', 'uefi', '--tpm'];
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...machine, '--nvram', vars);
    const nvram = (index: number): string => lab.path('fleets', fleet, 'nvram', `${fleet}-00${index}.fd`);
    const uuid = (await virsh('domuuid', `${fleet}-001`)).trim();
    const tpm = `/var/lib/libvirt/swtpm/${uuid}/tpm2/tpm2-00.permall`;
    // The firmware writes its variables when it starts.
    await until('a firmware that writes', async () => (await digest(nvram(1))) !== (await digest(vars)));
    expect(await virsh('dumpxml', `${fleet}-001`)).toContain('OVMF_CODE_4M.fd');
    const endorsed = await digest(tpm);
    // Adding a disk does not reset them.
    await lab.ok('stop', fleet, '2', '--timeout', '1s', '--force');
    const written = await digest(nvram(2));
    await lab.ok('spawn', fleet, '--disk', '16MiB', '--no-start').catch(() => undefined);
    expect(await digest(nvram(2))).toBe(written);
    expect((await lab.ok('status', fleet)).members[1].problems).toEqual([]);
    await lab.ok('reset', fleet, '--start', 'none');
    expect(await digest(nvram(1))).toBe(await digest(vars));
    expect(await digest(nvram(2))).toBe(await digest(vars));
    await expect(stat(tpm)).rejects.toThrow();
    await lab.ok('start', fleet);
    await until('a new TPM', async () => (await stat(tpm).catch(() => undefined)) !== undefined);
    expect(await digest(tpm)).not.toBe(endorsed);
    await lab.ok('teardown', fleet, '--yes');
    await expect(stat(tpm)).rejects.toThrow();
    await expect(stat(lab.path('fleets', fleet))).rejects.toThrow();
  });

  longIt('boots Linux under UEFI, with a TPM and a further disk that the guest sees', async () => {
    const fleet = lab.fleet('linux');
    const machine = ['--memory', '256MiB', '--seed', 'nocloud', '--firmware', 'uefi', '--tpm', '--disk', '64MiB'];
    await lab.ok('spawn', fleet, '--base', inject('tinyImage'), '--count', '1', ...machine, '--wait', 'agent', '--timeout', '3m');
    const line = 'ls -d /sys/firmware/efi /sys/firmware/acpi/tables/TPM2; cat /sys/block/vdb/size /sys/block/vdb/serial; echo; hostname';
    const { members } = await lab.ok('exec', fleet, '--', line);
    expect(members[0].stdout.trim().split('\n').sort()).toEqual(
      ['/sys/firmware/efi', '/sys/firmware/acpi/tables/TPM2', '131072', 'data1', `${fleet}-001`].sort(),
    );
    await lab.ok('teardown', fleet, '--yes');
  });

  longIt('recovers from kill -9 between undefining and defining', async () => {
    const fleet = lab.fleet('tpm');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '5', ...guest, '--tpm', '--wait', 'console=^OK');
    // The third domain is undefined at that point and not defined again.
    const faults = { KILL_ON: '^virsh define', KILL_AT: '3' };
    expect((await lab.faulty(faults, 'reset', fleet, '--concurrency', '1')).signal).toBe('SIGKILL');
    expect((await lab.ok('status', fleet)).members[2].problems).toContain('domain is missing');
    const outcome = await lab.ok('resume', fleet);
    expect(outcome.counts.failed).toBe(0);
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 5 });
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    for (let index = 1; index <= 5; index++) expect((await lab.marker(fleet, `${fleet}-00${index}`))?.boots).toBe(1);

    const other = await lab.golden('other.qcow2', { filledMiB: 1 });
    const killed = await lab.faulty(faults, 'rebase', fleet, '--base', other, '--canary', '0', '--concurrency', '1');
    expect(killed.signal).toBe('SIGKILL');
    expect((await lab.ok('resume', fleet)).counts.failed).toBe(0);
    const { members } = await lab.ok('status', fleet);
    expect(members.map((member: { base: string }) => member.base.split('@')[0])).toEqual(Array(5).fill('other'));
    await lab.ok('teardown', fleet, '--yes');
  });

  it('refuses impossible combinations', async () => {
    const fleet = lab.fleet('bad');
    const refusal = async (...args: string[]): Promise<string> => {
      const { exitCode, json } = await lab.answer('spawn', fleet, '--base', golden, '--count', '1', ...args);
      expect(exitCode).toBe(2);
      return `${json.error.message} ${(json.error.details ?? []).join(' ')}`;
    };
    expect(await refusal('--nvram', golden, '--firmware', 'uefi')).toContain('is not the NVRAM');
    const vars = join(lab.scratch, 'vars.fd');
    expect(await refusal('--nvram', vars)).toContain('requires UEFI');
    expect(await refusal('--disk', '1GiB,colour=red')).toContain('Invalid --disk');
    expect(await refusal('--disk', '0')).toContain('is not a size');
    expect(await refusal('--disk', '1GiB,name=root')).toContain('first disk');
    expect(await refusal('--disk', '1GiB,name=a', '--disk', '1GiB,name=a')).toContain('Two disks');
    await expect(stat(lab.path('fleets', fleet))).rejects.toThrow();
  });
});
