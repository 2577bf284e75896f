import { chmod, chown, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bin, Lab, uri } from '../../support/lab.js';

/** Defaults from files and the environment, in order of precedence. */
describe('the config files', () => {
  let lab: Lab;
  let project: string;
  let userFile: string;
  let publicKey: string;
  beforeAll(async () => {
    lab = await Lab.open();
    project = join(lab.scratch, 'project');
    await mkdir(join(project, 'deep', 'er'), { recursive: true });
    await mkdir(join(lab.scratch, 'cowherd'));
    userFile = join(lab.scratch, 'cowherd', 'config.yaml');
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(project, 'id')]);
    publicKey = (await readFile(join(project, 'id.pub'), 'utf8')).trim();
  });
  afterAll(() => lab.close());

  const run = async (words: string[], env: Record<string, string> = {}) => {
    const { exitCode, stdout, stderr } = await execa(process.execPath, [bin, ...words], {
      cwd: join(project, 'deep', 'er'),
      env: { XDG_CONFIG_HOME: lab.scratch, COWHERD_STORE: '', LIBVIRT_DEFAULT_URI: '', ...env },
      reject: false,
    });
    return { exitCode, stdout, stderr };
  };
  const shown = async (words: string[] = [], env: Record<string, string> = {}): Promise<Record<string, any>> => {
    const { stdout } = await run(['config', '--json', ...words], env);
    const { settings, ignored } = JSON.parse(stdout);
    const one = ({ name, value, source, from }: Record<string, string>) => [name, [value, source, from]];
    return { ...Object.fromEntries(settings.map(one)), ignored };
  };

  it('have the precedence flag, environment, project, user, built-in; paths are relative to the file', async () => {
    const projectFile = join(project, 'cowherd.yaml');
    await writeFile(userFile, 'network: network=lan\nstore: ~/vms\nseed: smbios\nconnect: qemu:///session\n');
    await writeFile(projectFile, 'network: none\nsshKeys: [id.pub]\n');
    expect(await shown([], { COWHERD_SEED: 'nocloud', HOME: '/home/ada' })).toEqual({
      connect: ['qemu:///session', 'user file', userFile],
      store: ['/home/ada/vms', 'user file', userFile],
      network: ['none', 'project file', projectFile],
      seed: ['nocloud', 'environment', 'COWHERD_SEED'],
      sshKeys: [[join(project, 'id.pub')], 'project file', projectFile],
      template: [null, 'built-in', null],
      catalog: [null, 'built-in', null],
      ignored: [],
    });
    const { connect, store } = await shown(['--connect', uri, '--store', '/srv/flag'], { COWHERD_STORE: '/srv/env' });
    expect([connect, store]).toEqual([
      [uri, 'flag', null],
      ['/srv/flag', 'flag', null],
    ]);
    expect((await shown([], { COWHERD_STORE: '/srv/env' })).store).toEqual(['/srv/env', 'environment', 'COWHERD_STORE']);
    const { stdout } = await run(['config']);
    expect(stdout).toMatch(/^SETTING +VALUE +SOURCE\nconnect +qemu:\/\/\/session +user file /);
  });

  it('apply to commands, but do not change existing fleets', async () => {
    await writeFile(userFile, `store: ${lab.store}\nconnect: ${uri}\n`);
    await writeFile(join(project, 'cowherd.yaml'), 'network: none\nseed: smbios\nsshKeys: [id.pub]\n');
    const fleet = lab.fleet('config');
    const spec = async () => JSON.parse(await readFile(lab.path('fleets', fleet, 'fleet.json'), 'utf8')).spec;
    const golden = await lab.golden('golden.qcow2');
    const made = await run(['spawn', fleet, '--base', golden, '--count', '1', '--memory', '16MiB', '--no-start']);
    expect([made.exitCode, made.stderr]).toEqual([0, expect.any(String)]);
    expect(await spec()).toMatchObject({ network: 'none', seed: 'smbios', sshKeys: [publicKey] });
    expect((await run(['list'])).stdout).toContain(fleet);

    await writeFile(join(project, 'cowherd.yaml'), 'network: user\nseed: none\n');
    expect((await run(['spawn', fleet, '--no-start'])).exitCode).toBe(0);
    expect(await spec()).toMatchObject({ network: 'none', seed: 'smbios' });
    // A flag takes precedence.
    const other = lab.fleet('flagged');
    await run(['spawn', other, '--base', 'golden', '--count', '1', '--memory', '16MiB', '--network', 'none', '--no-start']);
    expect(JSON.parse(await readFile(lab.path('fleets', other, 'fleet.json'), 'utf8')).spec.network).toBe('none');
  });

  it('are refused with the position of the error', async () => {
    const file = join(project, 'cowherd.yaml');
    await writeFile(file, 'netwrok: none\n');
    expect((await run(['list'])).stderr).toBe(
      `Error: ${file} is not a valid cowherd config file\n  ${file}:1:1: unknown key "netwrok"; did you mean "network"?\n→ It may set connect, store, network, seed, sshKeys, template, catalog. Correct the file, or move it away.`,
    );
    await writeFile(file, 'name: lab\nbase: g\ncount: 1\n');
    expect((await run(['config'])).stderr).toContain('→ It looks like a fleet file: give it another name, such as lab.yaml');
    await rm(file);
    const { exitCode, stderr } = await run(['config'], { COWHERD_SEED: 'nocluod' });
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('unset COWHERD_SEED')]);
  });

  it('of a project are ignored if another user could have written them', async () => {
    const file = join(project, 'cowherd.yaml');
    await writeFile(userFile, `store: ${lab.store}\n`);
    await writeFile(file, 'store: /srv/evil\n');
    await chown(file, 12_345, 12_345);
    const { store, ignored } = await shown();
    expect([store[1], ignored]).toEqual(['user file', [{ path: file, reason: 'it belongs to another user (uid 12345)' }]]);
    expect((await run(['list'])).stderr).toContain(`note: ${file} is ignored: it belongs to another user`);
    // With sudo, files of the calling user are trusted.
    expect((await shown([], { SUDO_UID: '12345' })).store[0]).toBe('/srv/evil');
    await chown(file, 0, 0);
    await chmod(file, 0o666);
    expect((await shown()).ignored[0].reason).toBe('every user can write to it');
    await chmod(file, 0o644);
    expect((await shown()).store[0]).toBe('/srv/evil');
    await rm(file);
    await symlink('/nonexistent', file);
    expect((await run(['list'])).exitCode).toBe(5);
    await rm(file);
  });
});
