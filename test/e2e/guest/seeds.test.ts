import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GuestLab } from '../../support/guest-lab.js';
import { domains, virsh } from '../../support/lab.js';

/** What cloud-init in real Linux guests gets from cowherd. */
describe('seeds of Linux guests', () => {
  const guests = GuestLab.use();
  const { lab, said } = guests;

  it('get the content of templates, and their secrets are not visible elsewhere', async () => {
    const fleet = lab.fleet('seed');
    const file = join(lab.scratch, 'user-data.hbs');
    await lab.ok('template', 'eject', file, '--part', 'user-data');
    const builtIn = await readFile(file, 'utf8');
    await writeFile(file, `${builtIn}runcmd:\n  - {{json (concat)}}\n`);
    const spawn = [
      'spawn',
      fleet,
      ...guests.linux,
      '--count',
      '1',
      '--user-data',
      file,
      '--secret',
      'token=s3cr3t-w0rd',
      '--wait',
      'cloud-init',
    ];
    const wrong = async (text: string, message: RegExp): Promise<void> => {
      await writeFile(file, text);
      const { exitCode, json, stdout, stderr } = await lab.cowherd(...spawn, '--json');
      expect([exitCode, json.error.code]).toEqual([2, 'BAD_TEMPLATE']);
      expect([json.error.message, ...(json.error.details ?? [])].join('\n')).toMatch(message);
      expect(json.error.hint).toBeTruthy();
      expect(stdout + stderr).not.toContain('s3cr3t');
      expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
      expect((await lab.answer('status', fleet)).exitCode).toBe(5);
    };
    await wrong('#cloud-config\nruncmd: [{{json secrets.token}}\n', /user-data of .*-001 .* is not YAML[\s\S]*line 2|line 3/);
    await wrong('#cloud-config\nruncmd: {{vars.nonesuch}}\n', /nonesuch/);
    await wrong('runcmd: []\n', /in no format that cloud-init knows/);

    await writeFile(
      file,
      `${builtIn}runcmd:\n  - {{json secrets.token}}\n`.replace(
        '{{json secrets.token}}',
        '"echo {{secrets.token}} {{vars.role}} > /root/told"',
      ),
    );
    await lab.ok(...spawn, '--var', 'role=db');
    expect(await said(fleet, 'cat /root/told')).toEqual(['s3cr3t-w0rd db']);
    // Only in the seed and in a file for root.
    const listings = [
      await lab.cowherd('status', fleet, '--json'),
      await lab.cowherd('inventory', fleet),
      await lab.cowherd('template', 'render', fleet, '1'),
      await lab.cowherd('template', 'render', fleet, '1', '--part', 'user-data'),
      await lab.cowherd('spawn', fleet, '--dry-run', '--json'),
    ];
    expect(listings.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0, 0]);
    expect(listings.map(({ stdout, stderr }) => stdout + stderr).join()).not.toMatch(/s3cr3t|BEGIN OPENSSH PRIVATE KEY-----\s+b3/);
    expect(listings[3]?.stdout).toContain('echo ******** db');
    expect(await virsh('dumpxml', `${fleet}-001`)).not.toContain('s3cr3t');
    expect(await readFile(lab.path('fleets', fleet, 'fleet.json'), 'utf8')).not.toContain('s3cr3t');
    expect((await stat(lab.path('fleets', fleet, 'secrets.json'))).mode & 0o777).toBe(0o600);

    // Without the secrets no login would be possible after a reset: it is refused.
    const kept = lab.path('fleets', fleet, 'secrets.json');
    await rename(kept, `${kept}.away`);
    expect((await lab.answer('reset', fleet)).exitCode).toBe(7);
    expect((await lab.answer('spawn', fleet)).exitCode).toBe(7);
    await rename(`${kept}.away`, kept);
    expect((await lab.ok('status', fleet)).unfinished).toBeUndefined();

    // Without a change there is nothing to do; a changed seed takes effect at the next start, with the same instance-id.
    expect((await lab.ok('spawn', fleet)).counts).toMatchObject({ unchanged: 1 });
    const [instance] = await said(fleet, 'cat /var/log/first-boot');
    const changed = await lab.ok('spawn', fleet, '--var', 'role=web');
    expect(changed.notes.join()).toContain('at their next start');
    await lab.ok('stop', fleet);
    await lab.ok('start', fleet, '--wait', 'cloud-init');
    expect(await said(fleet, 'cat /root/told /var/log/first-boot')).toEqual([`s3cr3t-w0rd db\n${instance}`]);
    await lab.ok('reset', fleet, '--keep-instance', '--wait', 'cloud-init');
    expect(await said(fleet, 'cat /root/told /var/log/first-boot')).toEqual([`s3cr3t-w0rd web\n${instance}`]);
    await lab.ok('teardown', fleet, '--yes');
  });
});
