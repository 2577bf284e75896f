import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serveDirectory } from '../support/download/directory-server.js';
import { isSameDisk, packImage } from '../support/download/packed-images.js';
import { domains, Lab, virsh } from '../support/lab.js';
import { shownKey } from '../support/ssh-keys.js';

/** Takes fifteen minutes or more without KVM. COWHERD_DEBIAN_IMAGE names an existing image. */
describe('Debian 12 guests', () => {
  let lab: Lab;
  let image = process.env.COWHERD_DEBIAN_IMAGE ?? '';

  beforeAll(async () => {
    lab = await Lab.open();
    if (image !== '') return;
    image = join(lab.scratch, 'debian-12.qcow2');
    const build = fileURLToPath(new URL('../../examples/debian-12/build.sh', import.meta.url));
    const { exitCode, all } = await execa('bash', [build, image], { reject: false, all: true });
    if (exitCode !== 0) throw new Error(`the Debian image could not be built:\n${all}`);
  });
  afterAll(() => lab.close());

  type Row = Record<string, any>;
  const said = async (fleet: string, command: string, ...flags: string[]): Promise<string[]> =>
    (await lab.ok('exec', fleet, ...flags, '--', command)).members.map((row: Row) => String(row.stdout).trim());

  it('come from an image that is downloaded in any format', async () => {
    const directory = join(lab.scratch, 'packed');
    const made = await packImage(image, directory);
    const server = await serveDirectory(directory);
    try {
      for (const { name, unpacked } of made) {
        const base = await lab.ok('base', 'pull', server.url(name), '--as', 'debian');
        expect(base.pulled.unpacked, name).toEqual(unpacked);
        expect(await isSameDisk(image, base), name).toBe(true);
        expect(base.contents, name).toMatchObject({ os: { id: 'debian', version: '12' }, cloudInit: true });
        await lab.ok('base', 'remove', base.ref);
      }
    } finally {
      await server.close();
      await rm(directory, { recursive: true });
    }
  });

  it('have their own identity from the first boot and after a reset', async () => {
    const fleet = lab.fleet('debian');
    const names = [`${fleet}-001`, `${fleet}-002`];
    const wait = ['--wait', 'agent,ssh,cloud-init', '--timeout', '20m'];
    const made = await lab.ok(
      'spawn',
      fleet,
      ...['--base', image, '--count', '2', '--memory', '512MiB', '--seed', 'nocloud', '--forward-ssh'],
      ...wait,
    );
    expect(made.counts).toMatchObject({ created: 2, started: 2, failed: 0 });
    expect(made.members.map((row: Row) => row.name)).toEqual(names);

    const { members } = await lab.ok('inventory', fleet);
    const known = await readFile(members[0].knownHostsFile, 'utf8');
    /** Values that must be unique per member and never change. */
    const identities = async () => {
      // An ssh login proves that the guest uses the host key on its disk and accepts the fleet's key.
      const hostnames = await said(fleet, 'hostname', '--via', 'ssh');
      const machineIds = await said(fleet, 'cat /etc/machine-id');
      const hostKeys: string[] = [];
      for (const { port } of members) hostKeys.push(await shownKey('127.0.0.1', port));
      return { hostnames, machineIds, hostKeys };
    };
    const first = await identities();
    expect(first.hostnames).toEqual(names);
    expect(new Set(first.hostKeys).size).toBe(2);
    expect(known.trim().split('\n')).toEqual(names.map((name, at) => `${name} ${first.hostKeys[at]}`));
    const uuids = await Promise.all(names.map((name) => virsh('domuuid', name)));
    expect(new Set(uuids).size).toBe(2);
    expect(first.machineIds).toEqual(uuids.map((uuid) => uuid.trim().replaceAll('-', '')));
    expect(await said(fleet, 'ls /etc/ssh/ssh_host_*_key')).toEqual(names.map(() => '/etc/ssh/ssh_host_ed25519_key'));
    expect(await said(fleet, 'cloud-init status')).toEqual(names.map(() => 'status: done'));
    expect(await said(fleet, 'systemctl --failed --no-legend')).toEqual(['', '']);

    const lives = await said(fleet, 'cat /var/lib/cloud/data/instance-id');
    await lab.ok('exec', fleet, '--via', 'ssh', '--', 'echo mine | tee /root/mark >> /etc/motd && sync');
    expect(await said(fleet, 'cat /root/mark; tail -n 1 /etc/motd')).toEqual(names.map(() => 'mine\nmine'));

    const reset = await lab.ok('reset', fleet, ...wait);
    expect(reset.counts).toMatchObject({ reset: 2, started: 2, failed: 0 });
    expect(await identities()).toEqual(first);
    expect(await readFile(members[0].knownHostsFile, 'utf8')).toBe(known);
    expect(await said(fleet, 'ls /root; grep mine /etc/motd || true')).toEqual(['', '']);
    expect(await said(fleet, 'cloud-init status')).toEqual(names.map(() => 'status: done'));
    // The disk contains nothing from before, and cloud-init has repeated its first-boot tasks.
    expect(await said(fleet, 'ls /var/lib/cloud/instances | wc -l')).toEqual(['1', '1']);
    expect(new Set([...lives, ...(await said(fleet, 'cat /var/lib/cloud/data/instance-id'))]).size).toBe(4);

    await lab.ok('teardown', fleet, '--with-base', '--yes');
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
    expect(await readdir(lab.path('fleets'))).toEqual([]);
    expect((await lab.ok('base', 'list')).bases).toEqual([]);
  });

  it('grow the file system of a larger disk at the first boot, at a later one and after a reset', async () => {
    const fleet = lab.fleet('grown');
    const wait = ['--wait', 'agent,cloud-init', '--timeout', '20m'];
    const gib = async (command: string): Promise<number> => Number((await said(fleet, command))[0]) / 1024 ** 3;
    const disk = () => gib('lsblk -bdno SIZE /dev/vda');
    // ext4 reserves some space.
    const root = () => gib('df -B1 --output=size / | tail -n 1');
    // The image has 8 GiB.
    await lab.ok(
      'spawn',
      fleet,
      '--base',
      image,
      ...['--count', '1', '--memory', '512MiB', '--seed', 'nocloud', '--disk-size', '12GiB'],
      ...wait,
    );
    expect(await disk()).toBe(12);
    expect(await root()).toBeGreaterThan(11);

    await lab.ok('spawn', fleet, '--disk-size', '16GiB');
    expect(await disk()).toBe(16);
    expect(await root()).toBeLessThan(12);
    await lab.ok('stop', fleet);
    await lab.ok('start', fleet, ...wait);
    expect(await root()).toBeGreaterThan(15);

    await lab.ok('reset', fleet, ...wait);
    expect(await root()).toBeGreaterThan(15);
    await lab.ok('teardown', fleet, '--with-base', '--yes');
  });
});
