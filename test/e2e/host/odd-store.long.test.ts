import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Lab } from '../../support/lab.js';

/** All characters with a meaning in OpenSSH paths. */
const oddName = `it's 100%h of "odd" \\ \${HOME} #paths`;

describe('a store path with spaces, quotes, % and ${', () => {
  let lab: Lab;
  let store: string;
  beforeAll(async () => {
    lab = await Lab.open();
    store = join(lab.store, oddName);
    await mkdir(store);
    await writeFile(join(store, 'accelerator.json'), inject('accelerator'));
  });
  afterAll(() => lab.close());

  it('works with ssh, cp, exec and inventories', async () => {
    const fleet = lab.fleet('odd');
    const name = `${fleet}-001`;
    const at = ['--store', store];
    const guest = ['--base', inject('tinyImage'), '--memory', '128MiB', '--count', '1', '--forward-ssh', '--seed', 'nocloud'];
    await lab.ok('spawn', fleet, ...guest, '--wait', 'ssh', ...at);

    const run = await lab.ok('exec', fleet, '--via', 'ssh', ...at, '--', 'hostname');
    expect(run.members[0]).toMatchObject({ stdout: `${name}\n`, via: 'ssh' });
    expect(await lab.cowherd('ssh', name, ...at, '--', 'hostname')).toMatchObject({ exitCode: 0, stdout: name });
    const local = join(lab.scratch, 'note');
    await writeFile(local, 'hello');
    await lab.ok('cp', local, `${fleet}:/root/`, '--via', 'ssh', ...at);
    await lab.ok('cp', `${name}:/root/note`, join(lab.scratch, 'back'), '--via', 'ssh', ...at);
    expect(await readFile(join(lab.scratch, 'back'), 'utf8')).toBe('hello');

    // ssh_config has no escape for ${; the hint gives a workaround.
    const inventory = (format: string, root: string) => lab.cowherd('inventory', fleet, '--format', format, '--store', root);
    for (const format of ['ssh-config', 'ansible']) {
      const refused = await inventory(format, store);
      expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringContaining('ln -s')]);
    }
    for (const format of ['json', 'env']) expect((await inventory(format, store)).exitCode).toBe(0);

    // Through the link from the hint, which keeps all other characters.
    const link = join(lab.scratch, oddName.replace('${', '('));
    await symlink(store, link);
    const config = join(lab.scratch, 'ssh_config');
    await writeFile(config, (await inventory('ssh-config', link)).stdout);
    expect((await execa('ssh', ['-F', config, '-o', 'BatchMode=yes', name, 'hostname'])).stdout).toBe(name);
    const hosts = join(lab.scratch, 'hosts.yaml');
    await writeFile(hosts, (await inventory('ansible', link)).stdout);
    const play = await execa('ansible', ['-i', hosts, 'all', '-m', 'raw', '-a', 'hostname'], { reject: false, all: true });
    if (play.code !== 'ENOENT') expect(play.all).toContain(`\n${name}`);
    await lab.ok('teardown', fleet, '--yes', ...at);
  });
});
