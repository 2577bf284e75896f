import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Lab, virsh } from '../../support/lab.js';

/** Instant clones of a VM with UEFI, which keeps its variables in a file of its own. */
describe('clones of a VM with UEFI', () => {
  const lab = new Lab();
  const golden = lab.fleet('gold');
  const source = `${golden}-001`;
  const fleet = lab.fleet('clones');
  beforeAll(async () => {
    await mkdir(lab.scratch);
    const machine = ['--base', inject('tinyImage'), '--memory', '256MiB', '--seed', 'smbios', '--firmware', 'uefi', '--count', '1'];
    await lab.ok('spawn', golden, ...machine, '--wait', 'agent', '--timeout', '5m');
    await run(golden, 'echo of-the-golden > /run/in-memory');
  });
  afterAll(() => lab.close());

  const run = async (where: string, command: string): Promise<string[]> => {
    const { members } = await lab.ok('exec', ...where.split(' '), '--via', 'agent', '--', '/bin/sh', '-c', command);
    return members.map((member: { stdout: string }) => member.stdout.trim());
  };
  const variables = async (domain: string): Promise<{ path: string; digest: string }> => {
    const path = /<nvram[^>]*>([^<]+)</.exec(await virsh('dumpxml', domain))?.[1] ?? '';
    return {
      path,
      digest: createHash('sha256')
        .update(await readFile(path))
        .digest('hex'),
    };
  };
  const mine = [1, 2].map((index) => `${fleet}-00${index}\nof-the-golden`);

  it('have their own copy of its variables', async () => {
    const { digest, path } = await variables(source);
    // A killed run has copied them: later changes in the source VM do not count.
    const faults = { KILL_AT: '1', KILL_ON: '^virsh start', KILL_LATE: '1' };
    const words = ['spawn', fleet, '--from-running', source, '--count', '2'];
    expect(await lab.faulty(faults, ...words)).toMatchObject({ signal: 'SIGKILL' });
    expect((await lab.ok('resume', fleet)).counts).toMatchObject({ created: 2, started: 2, failed: 0 });
    expect(await run(fleet, 'hostname; cat /run/in-memory; test -d /sys/firmware/efi')).toEqual(mine);
    const own = await Promise.all([1, 2].map((index) => variables(`${fleet}-00${index}`)));
    expect(new Set([path, ...own.map((one) => one.path)])).toHaveLength(3);
    expect(own.map((one) => one.digest)).toEqual([digest, digest]);
    expect((await lab.ok('base', 'list')).bases.find((one: any) => one.memory !== null).memory).toMatchObject({ shared: true });
    expect(await run(golden, 'cat /run/in-memory')).toEqual(['of-the-golden']);
  });

  it('boot with them, and get them again from a reset', async () => {
    await run(`${fleet} 1`, '(sleep 1; reboot -f) >/dev/null 2>&1 &');
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await lab.ok('start', fleet, '--wait', 'agent', '--timeout', '5m');
    expect(await run(`${fleet} 1`, 'hostname; test -e /run/in-memory || echo booted')).toEqual([`${fleet}-001\nbooted`]);
    await lab.ok('reset', fleet);
    expect(await run(fleet, 'hostname; cat /run/in-memory')).toEqual(mine);
    expect((await lab.ok('spawn', fleet, '--count', '3')).counts).toMatchObject({ created: 1, unchanged: 2 });
    expect((await lab.ok('verify')).findings).toEqual([]);
  });

  it('leave nothing behind', async () => {
    await lab.ok('teardown', fleet, '--with-base', '--yes');
    expect((await readdir(lab.path('fleets'))).filter((name) => !name.startsWith('.'))).toEqual([golden]);
    expect((await lab.ok('base', 'list')).bases.map((one: { name: string }) => one.name)).toEqual(['tiny']);
  });
});
