import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandsIn, follow, run } from '../../support/hints/follow.js';
import { guest, Lab, virsh } from '../../support/lab.js';

/** Manually changed domains of members, and conflicting domains: nothing is lost without a message. */
describe('manually changed domains', () => {
  let lab: Lab;
  let golden: string;
  let fleet: string;
  const name = (index: number): string => `${fleet}-00${index}`;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
    fleet = lab.fleet('domains');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '3', ...guest, '--no-start');
  });
  afterAll(() => lab.close());

  const xml = (index: number): Promise<string> => virsh('dumpxml', '--inactive', name(index));
  const errors = (json: any): any[] => json.members.filter((member: any) => member.error !== undefined);

  it('refuses to redefine a member without an added disk or network card, and keeps titles', async () => {
    const added = `${lab.scratch}/added.qcow2`;
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', added, '1M']);
    const card = `${lab.scratch}/card.xml`;
    await writeFile(card, "<interface type='user'><mac address='52:54:00:aa:bb:cc'/><model type='virtio'/></interface>");
    const attach = async (): Promise<void> => {
      await virsh('attach-disk', name(1), added, 'vdb', '--subdriver', 'qcow2', '--config');
      await virsh('attach-device', name(2), card, '--config');
    };
    await attach();
    for (const index of [1, 2, 3]) {
      await virsh('desc', name(index), '--config', '--title', 'The title');
      await virsh('desc', name(index), '--config', `What <it> is for: ${index}`);
    }
    const respawn = ['spawn', fleet, '--memory', '20MiB', '--no-start'];
    const dry = await lab.answer(...respawn, '--dry-run');
    const { exitCode, json } = await lab.answer(...respawn);
    for (const said of [errors(dry.json), errors(json)])
      expect(said.map(({ error }: any) => error.message)).toEqual([
        expect.stringContaining(`disk vdb (${added})`),
        expect.stringContaining('network card 52:54:00:aa:bb:cc'),
      ]);
    expect([exitCode, json.counts]).toMatchObject([4, { redefined: 1, failed: 2 }]);
    expect(await xml(1)).toContain(added);
    expect(await xml(2)).toContain('52:54:00:aa:bb:cc');
    for (const { error } of errors(json)) await follow(lab, error.hint);
    expect((await lab.ok(...respawn)).counts).toMatchObject({ redefined: 2, failed: 0 });
    await attach();
    for (const index of [1, 2, 3]) {
      expect(await xml(index)).toContain('<title>The title</title>');
      expect(await xml(index)).toContain(`<description>What &lt;it&gt; is for: ${index}</description>`);
      expect(await xml(index)).toContain("<memory unit='KiB'>20480</memory>");
    }
    // The second time there is nothing to do, and a reset does not change domains.
    expect((await lab.ok(...respawn)).counts).toMatchObject({ unchanged: 3, failed: 0 });
    expect((await lab.ok('reset', fleet)).counts).toMatchObject({ reset: 3, failed: 0 });
    const newer = await lab.golden('newer.qcow2', { filledMiB: 1 });
    const rebased = await lab.answer('rebase', fleet, '--base', newer, '--canary', '0');
    expect(errors(rebased.json).map(({ error }: any) => error.message)).toEqual([
      expect.stringContaining('disk vdb'),
      expect.stringContaining('network card'),
    ]);
    expect(await xml(1)).toContain(added);
    for (const { error } of errors(rebased.json)) await follow(lab, error.hint);
    await lab.ok('rebase', fleet, '--base', newer);
    expect(await xml(1)).toContain('<title>The title</title>');
  });

  it('frees a base image that is in use', async () => {
    const bases = (await lab.ok('base', 'list')).bases;
    const { name: used } = bases.find((base: any) => base.fleets.includes(fleet));
    const { json } = await lab.answer('base', 'remove', used);
    const [command = ''] = commandsIn(json.error.hint);
    expect(command).toBe(`cowherd rebase ${fleet} --base OTHER`);
    await run(lab, command.replace('OTHER', bases.find((base: any) => base.name !== used).name));
    await lab.ok('base', 'remove', used);
  });

  it('does not touch domains of another store, and names that store', async () => {
    const other = ['--store', lab.path('other')];
    await lab.ok('spawn', lab.fleet('other'), '--base', golden, '--count', '1', ...guest, '--no-start', ...other);
    const { json } = await lab.answer('spawn', lab.fleet('other'), '--base', golden, '--count', '1', ...guest, '--no-start');
    expect(json.error.code).toBe('FOREIGN_DOMAIN');
    expect(json.error.hint).not.toContain('domrename');
    const [command = ''] = commandsIn(json.error.hint.replace(/^.*DIR: /, ''));
    const [store = ''] = /\S+(?=\/fleets\/)/.exec(await run(lab, command)) ?? [];
    expect((await lab.ok('status', lab.fleet('other'), '--store', store)).members).toHaveLength(1);
    await lab.ok('teardown', lab.fleet('other'), '--yes', ...other);
  });

  it('names a working template if one produces no usable domain or seed', async () => {
    const broken = `${lab.scratch}/broken.xml.hbs`;
    await writeFile(broken, '<domain><name>{{name}}</name></domain>');
    const data = `${lab.scratch}/broken.hbs`;
    await writeFile(data, '#cloud-config\na: b: c\n');
    const spawn = ['spawn', lab.fleet('template'), '--base', golden, '--count', '1', ...guest, '--no-start'];
    for (const [flags, file] of [
      [['--template', broken], 'domain.xml.hbs'],
      [['--seed', 'nocloud', '--user-data', data], 'user-data.hbs'],
    ] as const) {
      const { exitCode, json } = await lab.answer(...spawn, ...flags);
      expect([exitCode, json.error.code]).toEqual([2, 'BAD_TEMPLATE']);
      await follow(lab, json.error.hint);
      const mended = [...flags.slice(0, -1), `${lab.scratch}/${file}`];
      expect((await lab.ok(...spawn, ...mended)).counts).toMatchObject({ created: 1, failed: 0 });
      await lab.ok('teardown', lab.fleet('template'), '--yes');
    }
  });

  it('makes the disk of another domain independent of a base image', async () => {
    const { path } = await lab.ok('base', 'add', await lab.golden('shared.qcow2', { filledMiB: 1 }));
    const [overlay, independent] = ['overlay.qcow2', 'independent.qcow2'].map((file) => join(lab.scratch, file)) as [string, string];
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', path, overlay]);
    const other = `${lab.fleet('other')}-vm`;
    await lab.defineForeign(other);
    await virsh('attach-disk', other, overlay, 'vda', '--subdriver', 'qcow2', '--config');
    const refused = await lab.answer('base', 'remove', 'shared');
    expect([refused.exitCode, refused.json.error.message]).toEqual([3, expect.stringContaining(`in use by the domains ${other}`)]);
    const [command = ''] = /qemu-img convert/.exec(refused.json.error.hint) ?? [];
    await run(lab, `${command} -f qcow2 -O qcow2 ${overlay} ${independent}`);
    await virsh('detach-disk', other, 'vda', '--config');
    await virsh('attach-disk', other, independent, 'vda', '--subdriver', 'qcow2', '--config');
    await lab.ok('base', 'remove', 'shared');
    await virsh('undefine', other);
  });

  it('recovers a fleet after the domain of another fleet with the same name is undefined', async () => {
    const twice = lab.fleet('twice');
    const spawn = (count: string) => lab.ok('spawn', twice, '--base', golden, '--count', count, ...guest, '--no-start');
    await spawn('1');
    const older = await virsh('dumpxml', '--inactive', `${twice}-001`);
    await lab.ok('teardown', twice, '--yes');
    await spawn('2');
    await virsh('undefine', `${twice}-001`);
    await lab.redefine(older);
    await rm(lab.path('fleets', twice, 'fleet.json'));
    const { exitCode, json } = await lab.answer('status', twice, '--recover');
    expect([exitCode, json.error.message, json.error.hint]).toEqual([
      7,
      `Domains of 2 different fleets use the name ${twice}`,
      'Undefine those that do not belong to the fleet, then try again.',
    ]);
    expect(json.error.details).toEqual([expect.stringMatching(/^index 1: fleet id /), expect.stringMatching(/^index 2: fleet id /)]);
    await virsh('undefine', `${twice}-001`);
    const { members } = await lab.ok('status', twice, '--recover');
    expect(members.map(({ index, state }: { index: number; state: string }) => [index, state])).toEqual([
      [1, 'broken'],
      [2, 'shutOff'],
    ]);
  });
});
