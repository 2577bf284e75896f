import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, inject, it } from 'vitest';
import { InstalledPackage, type User } from '../../support/installed-package.js';
import { domains } from '../../support/lab.js';

/** Clones of a running VM for a user without privileges, who has only the session daemon. */
describe('clones in a user session', () => {
  const { id, makeUser, runAs, ok } = InstalledPackage.use();
  const machine = ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', 'smbios', '--disk', '16MiB,name=data'];

  /** A running source VM with something in its memory and on its disk. */
  async function prepare(kind: string, ...network: string[]) {
    const user = await makeUser(kind);
    const cowherd = runAs(user);
    const golden = `cwt-${kind}-gold-${id}`;
    const fleet = `cwt-${kind}-alike-${id}`;
    const run = async (where: string, command: string, via = 'agent'): Promise<string[]> => {
      const { members } = await ok(cowherd('exec', ...where.split(' '), '--via', via, '--', command));
      return members.map((member: { stdout: string }) => member.stdout.trim());
    };
    await ok(cowherd('spawn', golden, ...machine, ...network, '--count', '1', '--wait', 'agent'));
    await run(golden, 'echo of-the-golden > /run/in-memory; echo of-the-golden > /root/on-disk; sync');
    return { user, cowherd, golden, fleet, run };
  }

  /** Nothing is left of clones and source VM, in the store and in libvirt's own directory. */
  async function assertNothingLeft(user: User, cowherd: ReturnType<typeof runAs>): Promise<void> {
    expect((await ok(cowherd('list'))).fleets).toEqual([]);
    expect((await ok(cowherd('base', 'list'))).bases).toEqual([]);
    const store = join(user.home, '.local', 'share', 'cowherd');
    expect(await readdir(join(store, 'fleets'))).toEqual([]);
    expect(await readdir(join(store, 'bases'))).toEqual(['.lock']);
    expect(await readdir(join(user.home, '.config', 'libvirt', 'qemu', 'save'))).toEqual([]);
    const virsh = ['-u', user.name, '--', 'env', '-i', `HOME=${user.home}`, 'virsh', '-q', '-c', 'qemu:///session', 'list', '--all'];
    expect((await execa('runuser', virsh, { cwd: '/' })).stdout.trim()).toBe('');
  }

  it.each([
    ['user', ['--network', 'user']],
    ['none', ['--network', 'none']],
  ])('share the memory of their source VM with the network %s', async (kind, network) => {
    const { user, cowherd, golden, fleet, run } = await prepare(kind, ...network);
    const made = await ok(cowherd('spawn', fleet, '--from-running', `${golden}-001`, '--count', '2'));
    expect(made.counts).toMatchObject({ created: 2, started: 2, failed: 0 });
    expect(made.notes).toEqual([expect.stringContaining(`frozen from ${golden}-001, which was resumed`)]);
    const [one, two] = [`${fleet}-001`, `${fleet}-002`];
    const own = 'hostname; cat /run/in-memory /root/on-disk';
    expect(await run(fleet, own)).toEqual([one, two].map((name) => `${name}\nof-the-golden\nof-the-golden`));
    expect(await run(golden, own)).toEqual([`${golden}-001\nof-the-golden\nof-the-golden`]);
    const identity = 'cat /etc/machine-id; cat /sys/class/net/eth0/address 2>/dev/null || true';
    const identities = [...(await run(fleet, identity)), ...(await run(golden, identity))].map((text) => text.split('\n'));
    for (const column of kind === 'none' ? [0] : [0, 1]) expect(new Set(identities.map((row) => row[column])).size).toBe(3);
    // QEMU runs as the user, so all its figures can be read.
    const { memory } = await ok(cowherd('status', fleet, '--memory'));
    expect(memory).toMatchObject({ read: 2, shared: { clones: 2, copiesBytes: 2 * memory.shared.sharedBytes }, notes: [] });
    expect(memory.shared.sharedBytes).toBeGreaterThan(16 * 2 ** 20);

    // Only the user can read the memory, and the system's libvirt has no part in it.
    const [base] = (await ok(cowherd('base', 'list'))).bases.filter((row: { memory: unknown }) => row.memory !== null);
    expect(base.memory).toMatchObject({ shared: true, reason: null });
    const { uid, mode } = await stat(base.path.replace(/qcow2$/, 'ram'));
    expect([uid, mode & 0o077]).toEqual([user.uid, 0]);
    expect((await domains()).filter((name) => name.includes(id))).toEqual([]);

    await run(`${fleet} 1`, 'rm /root/on-disk /run/in-memory; sync');
    expect((await ok(cowherd('reset', fleet, '1'))).counts).toMatchObject({ reset: 1, started: 1, failed: 0 });
    const grown = await ok(cowherd('spawn', fleet, '--count', '3'));
    expect(grown.counts).toMatchObject({ created: 1, started: 1, unchanged: 2, failed: 0 });
    await ok(cowherd('stop', fleet, '2', '--force'));
    await ok(cowherd('start', fleet, '2', '--wait', 'agent'));
    expect(await run(`${fleet} 1,3`, own)).toEqual([one, `${fleet}-003`].map((name) => `${name}\nof-the-golden\nof-the-golden`));
    expect(await run(`${fleet} 2`, 'hostname; test -e /run/in-memory || echo booted')).toEqual([`${two}\nbooted`]);
    expect((await ok(cowherd('verify'))).findings).toEqual([]);
    for (const each of [fleet, golden]) await ok(cowherd('teardown', each, '--with-base', '--yes'));
    await assertNothingLeft(user, cowherd);
  });

  it('each get a port of their own if one is forwarded to the source VM, also after a reboot by the guest', async () => {
    const { user, cowherd, golden, fleet, run } = await prepare('port', '--forward-ssh');
    const asUser = (...words: string[]) => execa('runuser', ['-u', user.name, '--', ...words], { cwd: '/' });
    await asUser('mkdir', '-p', '-m', '700', join(user.home, '.ssh'));
    await asUser('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(user.home, '.ssh', 'id_ed25519'));
    const { stdout: key } = await asUser('cat', join(user.home, '.ssh', 'id_ed25519.pub'));
    await run(golden, `mkdir -p /root/.ssh; echo "${key}" > /root/.ssh/authorized_keys; dropbear -R -s -p 22; sync`);

    const ready = ['--wait', 'agent,ssh', '--timeout', '120s'];
    const made = await ok(cowherd('spawn', fleet, '--from-running', `${golden}-001`, '--count', '2', ...ready));
    expect(made.counts).toMatchObject({ created: 2, started: 2, failed: 0 });
    const portsOf = async (name: string): Promise<number[]> =>
      (await ok(cowherd('status', name))).members.map((member: { sshPort: number }) => member.sshPort);
    const ports = [...(await portsOf(fleet)), ...(await portsOf(golden))];
    expect(new Set(ports).size).toBe(3);
    const names = [1, 2, 3].map((index) => `${fleet}-00${index}`);
    expect(await run(fleet, 'hostname', 'ssh')).toEqual(names.slice(0, 2));

    await run(`${fleet} 1`, '(sleep 1; reboot -f) >/dev/null 2>&1 &');
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await ok(cowherd('start', fleet, ...ready));
    await ok(cowherd('reset', fleet, '2', ...ready));
    await ok(cowherd('spawn', fleet, '--count', '3', ...ready));
    expect(await run(fleet, 'hostname', 'ssh')).toEqual(names);
    expect((await portsOf(fleet)).slice(0, 2)).toEqual(ports.slice(0, 2));
    for (const each of [fleet, golden]) await ok(cowherd('teardown', each, '--with-base', '--yes'));
    await assertNothingLeft(user, cowherd);
  });
});
