import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import { GuestLab, type Row } from '../../support/guest-lab.js';
import { virsh } from '../../support/lab.js';
import { isLong, longIt } from '../../support/long.js';
import { shownKey } from '../../support/ssh-keys.js';

/** Identity and addresses of real Linux guests: the network has addresses for as many. */
const count = isLong ? 8 : 4;
const half = count / 2;

describe('Linux guests', () => {
  const guests = GuestLab.use({ addresses: count });
  const { lab, said } = guests;

  it(`are ${count} with their own identities, before and after a reset of half of them`, async () => {
    const fleet = lab.fleet('eight');
    const made = await lab.ok(
      'spawn',
      fleet,
      ...guests.linux,
      '--count',
      String(count),
      '--network',
      `network=${guests.network.name}`,
      '--wait',
      'agent,ssh,cloud-init',
    );
    expect(made.counts).toMatchObject({ created: count, started: count, failed: 0 });
    const names = made.members.map((row: Row) => row.name);
    const identities = made.members.map(({ name, mac, address }: Row) => ({ name, mac, address }));
    for (const of of ['name', 'mac', 'address'] as const) expect(new Set(identities.map((row: Row) => row[of])).size).toBe(count);
    expect(identities.at(-1).address).toBe(guests.network.address(9 + count));

    expect(await said(fleet, 'hostname')).toEqual(names);
    expect(await said(fleet, 'hostname -i', '--via', 'ssh')).toEqual(identities.map((row: Row) => row.address));
    expect(new Set(await said(fleet, 'cat /etc/machine-id')).size).toBe(count);
    const keys: string[] = [];
    for (const { address } of identities) keys.push(await shownKey(address));
    expect(new Set(keys).size).toBe(count);
    const known = await readFile(lab.path('fleets', fleet, 'ssh', 'known_hosts'), 'utf8');
    expect(known.trim().split('\n')).toEqual(names.map((name: string, at: number) => `${name} ${keys[at]}`));
    const instances = await said(fleet, 'cat /var/log/first-boot');

    const { members } = await lab.ok('status', fleet);
    expect(members.map((row: Row) => [row.address, row.problems])).toEqual(identities.map((row: Row) => [row.address, []]));

    // No address for another one: one clear error, and nothing changes.
    const full = await lab.answer('spawn', fleet, '--count', String(count + 1));
    expect(full.exitCode).toBe(3);
    expect(full.json.error.message).toMatch(/has 0 free addresses; 1 are needed; nothing was changed/);
    expect((await lab.ok('status', fleet)).members).toHaveLength(count);

    // Half of them are reset and keep their identity; the others continue.
    await lab.ok('exec', fleet, '--', 'echo mine > /root/mark');
    const reset = await lab.ok('reset', fleet, `${half + 1}-${count}`, '--wait', 'agent,ssh');
    expect(reset.counts).toMatchObject({ reset: half, started: half, failed: 0 });
    const after = (await lab.ok('status', fleet)).members;
    expect(after.map(({ name, mac, address }: Row) => ({ name, mac, address }))).toEqual(identities);
    expect(await said(fleet, 'hostname', '--via', 'ssh')).toEqual(names);
    expect(await said(fleet, 'hostname -i')).toEqual(identities.map((row: Row) => row.address));
    const kept = names.map((_: string, at: number) => at < half);
    expect(await said(fleet, 'ls /root; cat /etc/bootcount')).toEqual(kept.map((isKept: boolean) => (isKept ? 'mark\n1' : '1')));
    for (const [at, { address }] of identities.entries()) expect(await shownKey(address)).toBe(keys[at]);
    // First-boot tasks were repeated under a new instance-id.
    const lives = await said(fleet, 'cat /var/log/first-boot');
    expect(lives.map((life, at) => life === instances[at])).toEqual(kept);
    expect(new Set([...instances, ...lives]).size).toBe(count + half);

    // Two guests with the same address are reported.
    await lab.ok(
      'exec',
      fleet,
      `${count - 1}-${count}`,
      '--',
      `ip addr flush dev eth0; ip addr add ${guests.network.address(99)}/24 dev eth0`,
    );
    const doubled = (await lab.ok('status', fleet)).members;
    expect(doubled[count - 2].problems).toEqual([`has the same address ${guests.network.address(99)} as ${names.at(-1)}`]);
    expect(doubled[0].problems).toEqual([]);

    const inventory = (format: string) =>
      lab.cowherd('inventory', fleet, `1-${count - 2}`, '--format', format).then(({ stdout }) => stdout);
    const config = join(lab.scratch, 'ssh_config');
    await writeFile(config, await inventory('ssh-config'));
    expect((await execa('ssh', ['-G', '-F', config, `${fleet}-002`])).stdout).toContain(`hostname ${identities[1].address}`);
    expect((await execa('ssh', ['-F', config, '-o', 'BatchMode=yes', `${fleet}-002`, 'hostname'])).stdout).toBe(`${fleet}-002`);
    const ansible = join(lab.scratch, 'hosts.yaml');
    await writeFile(ansible, await inventory('ansible'));
    const group = fleet.replaceAll('-', '_');
    const listed = await execa('ansible-inventory', ['-i', ansible, '--list'], { reject: false });
    const hosts =
      listed.code === 'ENOENT' ? Object.keys(parse(await readFile(ansible, 'utf8'))[group].hosts) : JSON.parse(listed.stdout)[group].hosts;
    expect(hosts).toEqual(names.slice(0, -2));
    await writeFile(join(lab.scratch, 'env'), await inventory('env'));
    const variable = `${fleet}-002`.toUpperCase().replaceAll('-', '_');
    const shell = await execa('bash', ['-c', `. ${join(lab.scratch, 'env')}; echo "$COWHERD_FLEET $${variable}_HOST"`]);
    expect(shell.stdout).toBe(`${fleet} ${identities[1].address}`);
    expect((await inventory('hosts')).split('\n')[0]).toBe(`${identities[0].address}\t${names[0]}`);

    // Hanging agents block neither a listing nor its cancellation.
    await lab.ok('exec', fleet, '1-2', '--via', 'ssh', '--', 'kill -STOP $(pidof qemu-ga)');
    expect((await lab.ok('status', fleet)).counts.running).toBe(count);

    // Foreign entries are kept, also those that libvirt matches with any MAC.
    await guests.network.addHost(`<host name='printer' ip='${guests.network.address(50)}'/>`);
    expect((await guests.network.hosts()).sort()).toEqual([...names].sort());
    await lab.ok('teardown', fleet, String(count), '--yes');
    expect(await guests.network.hosts()).toHaveLength(count - 1);
    await lab.ok('teardown', fleet, '--yes');
    expect(await guests.network.hosts()).toEqual([]);
    expect(await virsh('net-dumpxml', guests.network.name)).toContain('printer');
    expect(await readdir(lab.path('fleets'))).toEqual([]);
  });

  longIt('without a seed get their host name from SMBIOS, and no permanent key', async () => {
    const fleet = lab.fleet('smbios');
    const [key, pub] = [join(lab.scratch, 'id'), join(lab.scratch, 'id.pub')];
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    const base = ['--base', inject('tinyImage'), '--memory', '128MiB', '--count', '1'];
    const refused = await lab.answer('spawn', fleet, ...base, '--seed', 'smbios', '--ssh-key', pub);
    expect([refused.exitCode, refused.json.error.hint]).toEqual([2, expect.stringContaining('--seed nocloud')]);
    expect((await lab.answer('spawn', fleet, ...base, '--ssh-key', key)).json.error.hint).toContain('id.pub');
    await lab.ok('spawn', fleet, ...base, '--seed', 'smbios', '--wait', 'agent');
    expect(await said(fleet, 'hostname')).toEqual([`${fleet}-001`]);
    expect(await said(fleet, 'cloud-init status')).toEqual(['status: disabled']);
    const none = await lab.answer('exec', fleet, '--via', 'ssh', '--', 'true');
    expect(none.json.members[0].error).toMatchObject({ code: 'GUEST_UNREACHABLE', hint: expect.stringContaining('--forward-ssh') });
    await lab.ok('teardown', fleet, '--yes');

    // The user's own key works as well as that of the fleet.
    await lab.ok('spawn', fleet, ...base, '--ssh-key', pub, '--forward-ssh', '--wait', 'ssh');
    const [member] = (await lab.ok('inventory', fleet)).members;
    const options = [
      '-i',
      key,
      '-o',
      'IdentitiesOnly=yes',
      '-o',
      `HostKeyAlias=${member.name}`,
      '-o',
      `UserKnownHostsFile=${member.knownHostsFile}`,
    ];
    expect((await execa('ssh', ['-F', 'none', ...options, '-p', String(member.port), 'root@127.0.0.1', 'hostname'])).stdout).toBe(
      member.name,
    );
    await lab.ok('teardown', fleet, '--yes');
  });

  it('cause a warning if the base image contains an identity', async () => {
    const root = join(lab.scratch, 'baked');
    await mkdir(join(root, 'etc', 'ssh'), { recursive: true });
    await writeFile(join(root, 'etc', 'machine-id'), `${'a1'.repeat(16)}\n`);
    await writeFile(join(root, 'etc', 'ssh', 'ssh_host_ed25519_key'), 'a key');
    const image = join(lab.scratch, 'baked.img');
    await execa('mke2fs', ['-q', '-t', 'ext4', '-d', root, image, '8M']);
    const added = await lab.ok('base', 'add', image, '--name', 'baked', '--format', 'raw');
    expect(added.generalisation.map((warning: Row) => warning.what)).toEqual([
      expect.stringContaining('machine-id of its own'),
      expect.stringContaining('ssh_host_ed25519_key'),
    ]);
    expect((await lab.cowherd('base', 'inspect', 'baked')).stdout).toContain('machine-id of its own');
    await lab.ok('base', 'remove', 'baked');
    const fleet = lab.fleet('baked');
    const spawned = await lab.ok('spawn', fleet, '--base', image, '--format', 'raw', '--count', '1', '--no-start');
    expect(spawned.notes.join('\n')).toContain('virt-sysprep');
    await lab.ok('teardown', fleet, '--yes', '--with-base');
    // The commands of the hints, run in the same system before its disk is made.
    for (const { hint } of added.generalisation as Row[]) {
      const [, command = ''] = /^In the guest, before its last shutdown: "([^"]+)"/.exec(hint) ?? [];
      await execa('bash', ['-c', command.replace('/etc/', `${root}/etc/`)]);
    }
    await execa('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', root, image, '8M']);
    expect((await lab.ok('base', 'add', image, '--name', 'general', '--format', 'raw')).generalisation).toEqual([]);
    expect((await lab.ok('base', 'add', inject('tinyImage'))).generalisation).toEqual([]);
  });
});
