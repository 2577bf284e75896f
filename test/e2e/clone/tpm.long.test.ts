import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { extendPcr, inGuest, isDone, keepStorageKey, readEndorsementKey, seal, unseal, unsealed } from '../../support/guest-tpm.js';
import { domains, Lab, virsh } from '../../support/lab.js';

/** Instant clones of a VM with an emulated TPM, whose state all of them copy. */
describe('clones of a VM with a TPM', () => {
  const lab = new Lab();
  const golden = lab.fleet('gold');
  const source = `${golden}-001`;
  const fleet = lab.fleet('clones');
  const machine = ['--base', inject('tinyImage'), '--memory', '256MiB', '--seed', 'smbios', '--network', 'none', '--tpm'];
  const states = '/var/lib/libvirt/swtpm';
  const pcr = 'cat /sys/class/tpm/tpm0/pcr-sha256/16';
  /** Of the TPM of the source VM. */
  const own = { endorsementKey: '', sealed: '', pcr: '' };
  /** UUIDs of domains, whose TPM state libvirt stores under that name. */
  const uuids = new Set<string>();

  const run = async (where: string, command: string): Promise<string[]> => {
    const { members } = await lab.ok('exec', ...where.split(' '), '--via', 'agent', '--', '/bin/sh', '-c', command);
    return members.map((member: { stdout: string }) => member.stdout.trim());
  };
  /** @returns the answers of the TPM of each member */
  const ask = async (where: string, ...commands: string[]): Promise<string[][]> => {
    const answers = (await run(where, inGuest(...commands))).map((text) => text.split('\n'));
    for (const one of answers) expect(one.map(isDone)).toEqual(commands.map(() => true));
    return answers;
  };
  /** What the TPM of each member has, in the same form as `own`, with what it unseals. */
  const having = async (where: string) => {
    const pcrs = await run(where, pcr);
    const answers = await ask(where, readEndorsementKey, ...unseal(own.sealed));
    return answers.map(([endorsementKey, , secret = ''], position) => ({ endorsementKey, secret: unsealed(secret), pcr: pcrs[position] }));
  };
  /** After a boot, the PCRs start again. */
  const expected = (isBooted = false) => ({
    endorsementKey: own.endorsementKey,
    secret: 'of-the-golden',
    pcr: isBooted ? '0'.repeat(64) : own.pcr,
  });
  const note = async (...names: string[]): Promise<void> => {
    for (const name of names) uuids.add((await virsh('domuuid', name)).trim());
  };
  const kept = async (): Promise<string[]> => (await readdir(states)).filter((name) => uuids.has(name));
  const boots = async (where: string): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await lab.ok('start', ...where.split(' '), '--wait', 'agent', '--timeout', '5m');
  };

  beforeAll(async () => {
    await mkdir(lab.scratch);
    await lab.ok('spawn', golden, ...machine, '--count', '1', '--wait', 'agent', '--timeout', '5m');
    await ask(golden, ...keepStorageKey, extendPcr(16, 'ab'.repeat(32)));
    const [[endorsementKey = '', sealed = ''] = []] = await ask(golden, readEndorsementKey, seal('of-the-golden'));
    const [value = ''] = await run(golden, pcr);
    Object.assign(own, { endorsementKey, sealed, pcr: value });
  });
  afterAll(() => lab.close());

  it('are created only with --share-tpm', async () => {
    const spawn = ['spawn', fleet, '--from-running', source, '--count', '2'];
    for (const words of [spawn, [...spawn, '--dry-run']])
      expect((await lab.answer(...words)).json.error).toMatchObject({
        code: 'NOT_SUPPORTED',
        message: `Cannot clone ${source}: all clones would share the state of its TPM`,
        hint: expect.stringContaining('--share-tpm'),
      });
    expect(await readdir(lab.path('fleets'))).not.toContain(fleet);
    expect((await lab.answer('spawn', fleet, ...machine, '--count', '2', '--share-tpm')).json.error).toMatchObject({ code: 'BAD_USAGE' });
    expect((await lab.ok(...spawn, '--share-tpm', '--dry-run')).plan.members).toHaveLength(2);
  });

  it('start with a copy of its state, also after a kill', async () => {
    const spawn = ['spawn', fleet, '--from-running', source, '--count', '2', '--share-tpm'];
    // The flag is remembered while the source VM is frozen, and the state of a clone that was not completed is replaced.
    expect(await lab.faulty({ KILL_AT: '1', KILL_ON: '^virsh managedsave', KILL_LATE: '1' }, ...spawn)).toMatchObject({
      signal: 'SIGKILL',
    });
    const faults = { KILL_AT: '1', KILL_ON: '^virsh resume', KILL_LATE: '1' };
    expect(await lab.faulty(faults, 'resume', fleet)).toMatchObject({ signal: 'SIGKILL' });
    expect((await lab.ok('resume', fleet)).counts).toMatchObject({ failed: 0 });
    await note(source, `${fleet}-001`, `${fleet}-002`);
    expect(await having(fleet)).toEqual([expected(), expected()]);
    expect(await having(golden)).toEqual([expected()]);
    expect((await lab.ok('base', 'list')).bases.find((one: any) => one.memory !== null).memory).toMatchObject({ shared: true });
    for (const index of [1, 2]) expect(await virsh('dumpxml', `${fleet}-00${index}`)).toContain('<tpm model=');
    expect(await kept()).toHaveLength(3);
  });

  it('each change their own, and keep it when they boot', async () => {
    await ask(`${fleet} 2`, extendPcr(16, 'cd'.repeat(32)));
    const [first, second] = await having(fleet);
    expect([first, second?.pcr === own.pcr]).toEqual([expected(), false]);
    await run(`${fleet} 1`, '(sleep 1; reboot -f) >/dev/null 2>&1 &');
    await boots(fleet);
    expect(await having(`${fleet} 1`)).toEqual([expected(true)]);
    await lab.ok('stop', fleet, '2', '--force');
    await boots(`${fleet} 2`);
    expect(await having(`${fleet} 2`)).toEqual([expected(true)]);
    expect(await run(fleet, 'hostname')).toEqual([1, 2].map((index) => `${fleet}-00${index}`));
  });

  it('get it again from a reset, and so do later clones, without the flag', async () => {
    await lab.ok('reset', fleet);
    expect((await lab.ok('spawn', fleet, '--count', '3')).counts).toMatchObject({ created: 1, unchanged: 2 });
    await note(`${fleet}-003`);
    expect(await having(fleet)).toEqual(Array(3).fill(expected()));
    // With a fresh disk, it is created when it is wanted.
    await lab.ok('reset', fleet, '3', '--start', 'none');
    expect(await kept()).toHaveLength(3);
    await lab.ok('spawn', fleet);
    expect(await having(`${fleet} 3`)).toEqual([expected()]);
    expect((await lab.ok('verify')).findings).toEqual([]);
  });

  it('have a new one if they boot because the memory is of other versions, and a note says so', async () => {
    const base = (await lab.ok('base', 'list')).bases.find((one: any) => one.memory !== null);
    const path = base.path.replace(/qcow2$/, 'json');
    const text = await readFile(path, 'utf8');
    const known = JSON.parse(text);
    await writeFile(path, JSON.stringify({ ...known, warm: { ...known.warm, libvirt: '1.2.3' } }));
    const { notes } = await lab.ok('reset', fleet, '3');
    await writeFile(path, text);
    expect(notes).toContain('the TPMs of these clones are new: they cannot unseal what the source VM sealed');
    const [[key] = []] = await ask(`${fleet} 3`, readEndorsementKey);
    expect(key).not.toBe(own.endorsementKey);
  });

  it('leave no state behind', async () => {
    await lab.ok('teardown', fleet, '--with-base', '--yes');
    expect(await kept()).toEqual([(await virsh('domuuid', source)).trim()]);
    expect((await lab.ok('base', 'list')).bases.map((one: { name: string }) => one.name)).toEqual(['tiny']);
    expect(await having(golden)).toEqual([expected()]);
  });

  it('of a VM with UEFI that boots for them, which is refused before it boots', async () => {
    const once = lab.fleet('once');
    const spawn = ['spawn', once, ...machine, '--firmware', 'uefi', '--count', '2', '--boot-once'];
    expect((await lab.answer(...spawn)).json.error).toMatchObject({
      code: 'NOT_SUPPORTED',
      hint: expect.stringContaining('--share-tpm'),
    });
    expect((await domains()).filter((name) => name.startsWith(once))).toEqual([]);
    const before = await readdir(states);
    expect((await lab.ok(...spawn, '--share-tpm', '--timeout', '5m')).counts).toMatchObject({ created: 2, started: 2, failed: 0 });
    const [one, two] = await ask(once, readEndorsementKey);
    expect(two).toEqual(one);
    expect(one).not.toEqual([own.endorsementKey]);
    await note(`${once}-001`, `${once}-002`);
    expect((await domains()).filter((name) => name.startsWith(once)).sort()).toEqual([`${once}-001`, `${once}-002`]);
    // Its own state is gone.
    const owners = (await virsh('list', '--all', '--uuid')).split('\n');
    expect((await readdir(states)).filter((name) => !before.includes(name) && !owners.includes(name))).toEqual([]);
    await lab.ok('reset', once);
    expect(await ask(once, readEndorsementKey)).toEqual([one, one]);
    expect((await lab.ok('spawn', once, '--count', '3')).counts).toMatchObject({ created: 1, unchanged: 2 });
    await note(`${once}-003`);
    await lab.ok('teardown', once, '--with-base', '--yes');
    expect(await kept()).toEqual([(await virsh('domuuid', source)).trim()]);
  });
});
