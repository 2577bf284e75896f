import { chmod, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { InstalledPackage } from '../../support/installed-package.js';
import { domains, guest, until, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Unprivileged users with access to the libvirt of the system. */
describe('members of the group libvirt', () => {
  const { id, scratch, stores, groups, installed, golden, makeUser, runAs, ok, endProcesses, qemuGroup } = InstalledPackage.use();

  it("works for an unprivileged user in the group libvirt with the system's libvirt", async () => {
    const user = await makeUser('member', 'libvirt');
    const store = `/var/lib/libvirt/images/cwt-member-${id}`;
    stores.push(store);
    const cowherd = runAs(user, { COWHERD_STORE: store });
    const fleet = `cwt-member-${id}`;
    const spawn = ['spawn', fleet, '--base', golden, '--count', '3', ...guest, '--wait', 'console=^OK'];

    // Without their own store: refused, with the command that creates it.
    const refused = await cowherd(...spawn);
    expect(refused.exitCode).toBe(3);
    const command = `sudo install -d -m 2755 -g ${await qemuGroup()} -o ${user.name} ${store}`;
    expect(refused.json.error.hint).toContain(command);
    const { json: doctor } = await cowherd('doctor');
    expect(doctor.connection).toBe('qemu:///system');
    expect(doctor.checks.find((check: { name: string }) => check.name === 'store').hint).toContain(command);
    const [tool = '', ...words] = command.replace('sudo ', '').split(' ');
    await execa(tool, words);

    expect((await ok(cowherd(...spawn))).counts).toMatchObject({ created: 3, started: 3, failed: 0 });
    const overlay = join(store, 'fleets', fleet, 'overlays', `${fleet}-001.qcow2`);
    // libvirt has changed the owner of the running guest's disk to QEMU's user, but not that of the base image.
    expect((await stat(overlay)).uid).not.toBe(user.uid);
    const base = await ok(cowherd('base', 'inspect', 'golden'));
    const { uid, gid, mode } = await stat(base.path);
    expect([uid, gid, mode & 0o7777]).toEqual([user.uid, await qemuGroup(), 0o440]);
    expect((await ok(cowherd('reset', fleet))).counts).toMatchObject({ reset: 3, started: 3, failed: 0 });
    // That user may not read it, and a reset would not help; root may.
    const { exitCode, json: closed } = await cowherd('checkpoint', fleet, '2');
    const { message, hint } = closed.members[0].error;
    expect([exitCode, message, hint]).toEqual([
      4,
      expect.stringContaining(`${user.name} cannot read its disk ${store}`),
      expect.stringContaining('Run it as root: sudo cowherd checkpoint'),
    ]);
    await execa('bash', ['-c', hint.replace('Run it as root: sudo cowherd', installed)]);
    expect((await ok(cowherd('verify'))).findings).toEqual([]);
    await ok(cowherd('stop', fleet, '1', '--timeout', '1s', '--force'));
    expect((await ok(cowherd('reset', fleet, '1', '--start', 'all'))).counts).toMatchObject({ reset: 1, started: 1 });
    // QEMU runs as another user: resident memory is visible to all, proportional memory is not.
    const { counts, memory, members } = await ok(cowherd('status', fleet, '--memory'));
    expect(counts.running).toBe(3);
    expect(memory).toMatchObject({ on: 3, read: 0, residentBytes: expect.any(Number), proportionalBytes: null, mergedBytes: null });
    expect(memory.notes).toEqual([expect.stringMatching(/^3 members: QEMU runs as another user.*Run the command as root$/)]);
    expect(members[0].memory).toMatchObject({ residentBytes: expect.any(Number), proportionalBytes: null });
    expect(await virsh('list', '--name')).toContain(`${fleet}-003`);
    expect((await ok(cowherd('teardown', fleet, '--yes', '--with-base'))).counts.removed).toBe(3);
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
    expect(await readdir(join(store, 'fleets'))).toEqual([]);
  });

  it('tells a user without access to the system daemon what to do', async () => {
    const user = await makeUser('outside');
    const cowherd = runAs(user);
    const { exitCode, json } = await cowherd('list', '--connect', 'qemu:///system');
    expect(exitCode).toBe(0);
    expect(json.fleets).toEqual([]);
    const denied = await cowherd('base', 'list', '--connect', 'qemu:///system');
    expect(denied.exitCode).toBe(8);
    expect(denied.json.error.code).toBe('CONNECTION_FAILED');
    const [, join = '', , option = ''] =
      /\((sudo usermod -aG libvirt \$USER), then (log in again)\), or use (--connect \S+)\.$/.exec(denied.json.error.hint) ?? [];
    await ok(cowherd('base', 'list', ...option.split(' ')));
    await execa('bash', ['-c', join.replace('sudo ', '')], { env: { USER: user.name } });
    // Each run is a new login.
    await ok(cowherd('base', 'list', '--connect', 'qemu:///system'));
  });

  longIt('lets only users who may change a fleet lock it', async () => {
    const group = `cwt-group-${id}`;
    groups.push(group);
    await execa('groupadd', [group]);
    const owner = await makeUser('owner', 'libvirt', group);
    const mate = await makeUser('mate', 'libvirt', group);
    const outsider = await makeUser('outsider', 'libvirt');
    // Created manually, without QEMU's group: the owner cannot change the group of a base image.
    const store = `/var/lib/libvirt/images/cwt-shared-${id}`;
    stores.push(store);
    await execa('install', ['-d', '-m', '2775', '-o', owner.name, '-g', group, store]);
    const env = { COWHERD_STORE: store };
    const root = { name: 'root', home: scratch };
    const fleet = `cwt-shared-${id}`;
    const lock = join(store, 'fleets', `.${fleet}.lock`);
    const rights = async () => {
      const { uid, gid, mode, ino } = await stat(lock);
      return { uid, gid, mode: mode & 0o7777, ino };
    };
    const made = await ok(runAs(owner, env)('spawn', fleet, '--base', golden, '--count', '1', ...guest, '--no-start'));
    const { gid } = await stat(store);
    const first = await rights();
    expect(first).toMatchObject({ uid: owner.uid, gid, mode: 0o660 });

    // A file of an older version, which every user could open.
    await chmod(lock, 0o644);
    for (const user of [root, mate, owner]) {
      const reset = await ok(runAs(user, env)('reset', fleet, '--start', 'none'));
      expect([user.name, reset.counts.reset, await rights()]).toEqual([user.name, 1, first]);
    }
    for (const path of [lock, join(store, 'bases', '.lock')]) {
      const { exitCode, stderr } = await execa('runuser', ['-u', outsider.name, '--', 'flock', '-n', path, 'true'], { reject: false });
      expect([exitCode, stderr]).toEqual([66, expect.stringContaining('Permission denied')]);
    }
    const refused = await runAs(outsider, env)('reset', fleet);
    expect([refused.exitCode, refused.json.error.message]).toEqual([8, expect.stringContaining(`may not open ${lock}`)]);

    const stranger = execa('runuser', ['-u', mate.name, '--', 'flock', lock, 'sleep', '60'], { reject: false, stdio: 'ignore' });
    try {
      await until('the lock to be held', async () => (await execa('flock', ['-n', lock, 'true'], { reject: false })).exitCode === 1);
      for (const user of [root, owner]) {
        const { exitCode, json } = await runAs(user, env)('teardown', fleet, '--yes');
        expect([exitCode, json.error.message]).toEqual([
          6,
          expect.stringMatching(new RegExp(`^Fleet ${fleet} is locked by another program, not cowherd \\(flock, pid \\d+\\)$`)),
        ]);
      }
    } finally {
      stranger.kill('SIGKILL');
      await stranger;
      await endProcesses(mate.name);
    }
    await giveToQemu(store, runAs(owner, env), made.notes.join('\n'));
    await ok(runAs(mate, env)('teardown', fleet, '--yes'));
  });

  /** If QEMU has no other access, every user may read a base image: a warning says so, and following it fixes that. */
  async function giveToQemu(store: string, cowherd: ReturnType<typeof runAs>, notes: string): Promise<void> {
    const bases = join(store, 'bases');
    const advice = `sudo chgrp -R ${await qemuGroup()} ${bases} && sudo find ${bases} -type d -exec chmod g+s {} +`;
    expect(notes).toContain(advice);
    const { exitCode, json } = await cowherd('verify', '--fix');
    expect([exitCode, json.findings]).toEqual([
      4,
      [expect.objectContaining({ kind: 'exposed', fixed: false, hint: expect.stringContaining(advice) })],
    ]);
    await execa('bash', ['-c', advice.replaceAll('sudo ', '')]);
    expect((await ok(cowherd('verify', '--fix'))).fixed).toBe(1);
    const { mode, gid } = await stat(json.findings[0].what);
    expect([mode & 0o7777, gid]).toEqual([0o440, await qemuGroup()]);
  }
});
