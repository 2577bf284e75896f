import { readdir } from 'node:fs/promises';
import { execa } from 'execa';
import { describe, expect, inject, it } from 'vitest';
import { domains, Lab, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Fleets of which one VM boots: real Linux guests. */
describe('spawn --boot-once', () => {
  const lab = Lab.use();
  const machine = (seed = 'smbios') => ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', seed, '--network', 'none'];
  const run = async (fleet: string, command: string): Promise<string[]> => {
    const { members } = await lab.ok('exec', fleet, '--via', 'agent', '--', '/bin/sh', '-c', command);
    return members.map((member: { stdout: string }) => member.stdout.trim());
  };
  /** The memory that each member maps. */
  const memories = (fleet: string, count: number) =>
    Promise.all(names(fleet, count).map(async (name) => /mem-path=[^,]*/.exec(await virsh('dumpxml', name))?.[0]));
  const names = (fleet: string, count: number) => Array.from({ length: count }, (_, index) => `${fleet}-00${index + 1}`);

  it('boots one VM, and all members are clones of it', async () => {
    const fleet = lab.fleet('once');
    const planned = await lab.ok('spawn', fleet, ...machine(), '--count', '3', '--boot-once', '--dry-run');
    expect(planned.notes.join()).toContain(`3 members of ${fleet} would then be its clones`);
    expect(await readdir(lab.path('fleets')).catch(() => [])).toEqual([]);

    const overlay = ['--overlay', 'cluster-size=128KiB,extended-l2=on'];
    // Only the VM that boots prints this.
    const wait = ['--wait', 'agent,console=TINY-READY', '--timeout', '60s'];
    const outcome = await lab.ok('spawn', fleet, ...machine(), '--count', '3', '--boot-once', ...overlay, ...wait);
    expect(outcome).toMatchObject({ fleet, counts: { created: 3, started: 3, failed: 0 } });
    expect(await run(fleet, 'hostname')).toEqual(names(fleet, 3));
    const [memory, ...others] = await memories(fleet, 3);
    expect(memory).toBeDefined();
    expect(others).toEqual([memory, memory]);
    expect((await lab.ok('list')).fleets.map((one: { fleet: string }) => one.fleet)).toEqual([fleet]);
    expect((await domains()).filter((name) => name.includes(lab.id)).sort()).toEqual(names(fleet, 3));
    expect((await lab.ok('verify')).findings).toEqual([]);
    // The format of the disks is not taken from the VM.
    const { stdout } = await execa('qemu-img', ['info', '-U', '-f', 'qcow2', lab.overlay(fleet, `${fleet}-003`)]);
    expect(stdout).toContain('extended l2: true');

    // Later members and resets are clones of the same moment.
    expect((await lab.ok('spawn', fleet, '--count', '4', '--boot-once')).counts).toMatchObject({ created: 1, unchanged: 3 });
    await lab.ok('reset', fleet, '1');
    expect(await memories(fleet, 4)).toEqual(Array(4).fill(memory));
    await lab.ok('teardown', fleet, '--with-base', '--yes');
  });

  it('refuses what cannot differ between clones, and the name of another fleet', async () => {
    const fleet = lab.fleet('refused');
    const refusal = async (...words: string[]) => (await lab.answer('spawn', fleet, ...words, '--count', '2', '--boot-once')).json.error;
    expect(await refusal(...machine('nocloud'))).toMatchObject({
      code: 'NOT_SUPPORTED',
      hint: expect.stringContaining('--seed smbios'),
    });
    expect(await refusal(...machine(), '--user-data', '/dev/null')).toMatchObject({ code: 'BAD_USAGE' });
    expect(await refusal('--from-running', 'x')).toMatchObject({ code: 'BAD_USAGE' });
    expect(await domains()).not.toContain(`${fleet}-boot-001`);
    const golden = await lab.golden('golden.qcow2');
    await lab.spawned('refused', golden, 2, '--no-start');
    expect((await lab.answer('spawn', fleet, '--count', '2', '--boot-once')).json.error).toMatchObject({
      code: 'BAD_USAGE',
      message: expect.stringContaining('is not a fleet of clones'),
    });
    // Also one of the user's with a single VM.
    await lab.ok('spawn', `${fleet}-c-boot`, '--base', golden, '--count', '1', '--memory', '16MiB', '--network', 'none', '--no-start');
    const taken = await lab.answer('spawn', `${fleet}-c`, ...machine(), '--count', '2', '--boot-once');
    expect(taken.json.error).toMatchObject({ code: 'BAD_USAGE', message: expect.stringContaining(`Fleet ${fleet}-c-boot exists`) });
    expect((await lab.ok('status', `${fleet}-c-boot`)).members).toHaveLength(1);
    for (const name of [fleet, `${fleet}-c-boot`]) await lab.ok('teardown', name, '--yes');
  });

  longIt('says how to look at a VM that did not become ready, and continues with it', async () => {
    const fleet = lab.fleet('late');
    const spawn = ['spawn', fleet, ...machine(), '--count', '2', '--boot-once'];
    const { exitCode, json } = await lab.answer(...spawn, '--wait', 'console=never', '--timeout', '3s');
    expect([exitCode, json.fleet, json.counts.failed]).toEqual([4, `${fleet}-boot`, 1]);
    const [, remove = ''] = /^no member of .*, or remove it: cowherd (.+)$/m.exec(json.notes.join('\n')) ?? [];
    const first = (await virsh('domid', `${fleet}-boot-001`)).trim();
    // Killed when the VM is frozen: the same command continues.
    expect(await lab.faulty({ KILL_AT: '1', KILL_ON: '^virsh managedsave', KILL_LATE: '1' }, ...spawn)).toMatchObject({
      signal: 'SIGKILL',
    });
    expect(first).toMatch(/^\d+$/);
    // Killed again when the first clone is restored: resume completes it, too.
    expect(await lab.faulty({ KILL_AT: '1', KILL_ON: '^virsh restore' }, ...spawn)).toMatchObject({ signal: 'SIGKILL' });
    expect((await lab.ok('resume', fleet)).counts.failed).toBe(0);
    expect((await lab.ok(...spawn)).counts).toMatchObject({ unchanged: 2, failed: 0 });
    expect(await run(fleet, 'hostname')).toEqual(names(fleet, 2));
    expect((await domains()).filter((name) => name.startsWith(fleet)).sort()).toEqual(names(fleet, 2));
    // Nothing is left to remove.
    expect((await lab.answer(...remove.split(' '))).json.error).toMatchObject({ code: 'FLEET_NOT_FOUND' });
    await lab.ok('teardown', fleet, '--with-base', '--yes');
  });
});
