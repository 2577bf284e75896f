import { chmod, chown, mkdir, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, inject, it } from 'vitest';
import { InstalledPackage } from '../../support/installed-package.js';
import { domains, guest, until, uri } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** An installed cowherd, run outside the repository, also without any rights. */
describe('the installed package', () => {
  const { id, scratch, installed, golden, makeUser, runAs, ok } = InstalledPackage.use();

  it('starts without a home directory, a shell, a passwd entry and a working directory of its own', async () => {
    const store = join(scratch, 'nameless');
    await mkdir(store);
    const nameless = ['--reuid', '54321', '--regid', '54321', '--clear-groups', 'env', '-i', process.execPath, await realpath(installed)];
    const closed = join(scratch, 'closed');
    await mkdir(join(closed, 'inside'), { recursive: true, mode: 0o755 });
    await chmod(closed, 0o700);
    // Also in directories that it may not enter, as in root's home after sudo -u.
    for (const cwd of ['/', closed, join(closed, 'inside')]) {
      const listed = await execa('setpriv', [...nameless, 'list', '--store', store], { cwd, reject: false, all: true });
      expect([listed.exitCode, listed.all], cwd).toEqual([0, expect.stringMatching(/^No fleets in /)]);
    }
    const help = await execa('setpriv', [...nameless, '--help'], { reject: false, all: true });
    expect([help.exitCode, help.all]).toEqual([0, expect.stringContaining('COMMANDS')]);
  });

  it('runs outside the repository, with its templates', async () => {
    const { stdout } = await execa(installed, ['--version'], { cwd: '/' });
    expect(stdout).toContain('cowherd/');
    await execa(installed, ['template', 'eject', join(scratch, 'ejected.hbs')], { cwd: '/' });
    expect(await readFile(join(scratch, 'ejected.hbs'), 'utf8')).toContain('{{{metadata}}}');
    const help = await execa(installed, ['spawn', '--help'], { cwd: '/' });
    expect(help.stdout).toContain('EXAMPLES');
    expect((await execa(installed, ['completion', 'bash'], { cwd: '/' })).stdout).toContain('complete ');
  });

  it('names the user, the part of the path and the missing permission', async () => {
    const user = await makeUser('denied');
    const closed = join(scratch, 'closed');
    await mkdir(join(closed, 'store', 'fleets'), { recursive: true });
    await chmod(closed, 0o700);
    const list = ['list', '--store', join(closed, 'store')];
    const { exitCode, json } = await runAs(user)(...list);
    expect([exitCode, json.error.message, json.error.hint]).toEqual([
      8,
      expect.stringContaining(`${user.name} has no search permission for ${closed} (owner root, mode 0700)`),
      expect.stringMatching(/^Run the same command as root \(sudo\)\./),
    ]);
    await ok(runAs({ name: 'root', home: scratch })(...list));
    // Users can open their own files themselves.
    await chmod(closed, 0o755);
    await chown(join(closed, 'store', 'fleets'), user.uid, user.gid);
    await chmod(join(closed, 'store', 'fleets'), 0o300);
    const own = await runAs(user)(...list);
    expect(own.json.error.message).toContain(
      `${user.name} has no read permission for ${closed}/store/fleets (owner ${user.name}, mode 0300)`,
    );
    await execa('runuser', ['-u', user.name, '--', 'bash', '-c', own.json.error.hint.replace('Grant yourself the permission: ', '')]);
    await ok(runAs(user)(...list));
  });

  it('does not change the virsh history of root', async () => {
    // The sessions are kept open and are fed hundreds of commands: none of it may end up where a person looks for theirs.
    const home = join(scratch, 'home-root');
    await mkdir(join(home, '.cache', 'libvirt', 'virsh'), { recursive: true });
    await chown(home, 0, 0);
    await execa(installed, ['base', 'list', '--store', join(scratch, 'store')], {
      cwd: '/',
      env: { HOME: home, XDG_CACHE_HOME: '', LIBVIRT_DEFAULT_URI: uri },
    });
    expect(await readdir(join(home, '.cache', 'libvirt', 'virsh'))).toEqual([]);
  });

  it('works for an unprivileged user with a session libvirtd, without any setup', async () => {
    const cowherd = runAs(await makeUser('plain'));
    const fleet = `cwt-plain-${id}`;
    const outcome = await ok(cowherd('spawn', fleet, '--base', golden, '--count', '3', '--memory', '16MiB', '--wait', 'console=^OK'));
    expect(outcome.counts).toMatchObject({ created: 3, started: 3, failed: 0 });
    const doctor = await cowherd('doctor');
    expect(doctor.json.connection).toBe('qemu:///session');
    expect(doctor.json.store).toBe(join(scratch, 'home-plain', '.local', 'share', 'cowherd'));
    const status = await ok(cowherd('status', fleet));
    expect(status.counts.running).toBe(3);
    expect(status.members[0].driftBytes).toBeGreaterThan(0);
    // The user owns the QEMU process and can read all its memory figures.
    expect((await ok(cowherd('status', fleet, '--memory'))).memory).toMatchObject({
      on: 3,
      read: 3,
      guestBytes: 48 * 1024 ** 2,
      proportionalBytes: expect.any(Number),
      notes: [],
    });
    expect((await ok(cowherd('reset', fleet, '2-3'))).counts).toMatchObject({ reset: 2, started: 2 });
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
    await ok(cowherd('teardown', fleet, '--yes', '--with-base'));
    expect((await ok(cowherd('list'))).fleets).toEqual([]);
  });

  longIt('reconnects to a libvirtd that was killed during a command, or reports it; no guest is lost', async () => {
    const user = await makeUser('killed');
    const cowherd = runAs(user);
    const fleet = `cwt-killed-${id}`;
    const log = join(user.home, '.local', 'share', 'cowherd', 'fleets', fleet, 'operation.log');
    /** The user's own daemon; no other is touched. */
    const killDaemon = async (): Promise<void> => {
      const { stdout } = await execa('ps', ['-u', user.name, '-o', 'pid=,comm=']);
      const pid = /^\s*(\d+)\s+libvirtd$/m.exec(stdout)?.[1];
      if (pid === undefined) throw new Error(`no libvirtd of ${user.name}:\n${stdout}`);
      process.kill(Number(pid), 'SIGKILL');
    };
    /** Runs a command, and repeats it if a member failed because libvirt could not finish its start, as its error says. */
    const settle = async (...args: string[]) => {
      const { exitCode, json } = await cowherd(...args);
      if (!(await freed(json))) return expect([exitCode, json?.error, json?.counts?.failed]).toEqual([0, undefined, 0]);
      await ok(cowherd(...args));
    };
    const freed = async (json: { members?: Array<{ error?: { message: string; details: string[] } }> }): Promise<boolean> => {
      const stuck = (json.members ?? []).flatMap(({ error }) =>
        error?.message.includes('cannot be stopped') ? [error.details.join()] : [],
      );
      if (stuck.length === 0) return false;
      await killDaemon();
      for (const details of stuck) {
        const note = join(user.home, /~\/(\S+\.xml)/.exec(details)?.[1] ?? 'no note');
        expect(await readFile(note, 'utf8')).toContain("pid='0'");
        await rm(note);
      }
      return true;
    };
    for (const [verb = '', ...args] of [
      ['spawn', '--base', golden, '--count', '6', ...guest],
      ['reset', '--start', 'all'],
    ]) {
      const run = cowherd(verb, fleet, ...args, '--concurrency', '1', '--boot-concurrency', '1');
      await until('the first members', async () => (await readFile(log, 'utf8').catch(() => '')).split('\n').length > 2);
      await killDaemon();
      const { exitCode, json, stdout, stderr } = await run;
      expect([exitCode, stdout + stderr]).toEqual([expect.toBeOneOf([0, 4, 8]), expect.not.stringContaining('BUG')]);
      if (exitCode === 8) expect(json.error.hint).toMatch(/libvirtd/);
      await freed(json);
      const status = await ok(cowherd('status', fleet));
      if (status.unfinished !== undefined) await settle('resume', fleet);
      // The same command again starts the failed members.
      else if (exitCode === 4) await settle(verb, fleet, ...args);
      const { members, counts } = await ok(cowherd('status', fleet));
      expect([verb, exitCode, counts.running, counts.running === 6 ? '' : JSON.stringify([json, members, status])]).toEqual([
        verb,
        exitCode,
        6,
        '',
      ]);
      expect((await ok(cowherd('verify'))).findings).toEqual([]);
    }
    await ok(cowherd('teardown', fleet, '--yes', '--with-base'));
  });

  longIt('lets an unprivileged user create Linux guests and log in to them', async () => {
    const cowherd = runAs(await makeUser('guests'));
    const fleet = `cwt-own-${id}`;
    type Row = Record<string, string | number>;
    const identity = ({ name, mac, sshPort }: Row): Row => ({ name: name ?? '', mac: mac ?? '', sshPort: sshPort ?? '' });
    const said = async (...args: string[]): Promise<string[]> =>
      (await ok(cowherd('exec', fleet, ...args))).members.map((row: { stdout: string }) => row.stdout.trim());
    const guests = ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', 'nocloud', '--forward-ssh'];
    const made = await ok(cowherd('spawn', fleet, ...guests, '--count', '4', '--wait', 'agent,ssh,cloud-init'));
    expect(made.counts).toMatchObject({ created: 4, started: 4, failed: 0 });
    const identities: Row[] = made.members.map(identity);
    const names = identities.map(({ name }) => name);
    for (const of of ['name', 'mac', 'sshPort']) expect(new Set(identities.map((row) => row[of])).size).toBe(4);
    const key = 'sha256sum < /etc/dropbear/dropbear_ed25519_host_key';
    const mine = await said('--', `hostname; ${key}; echo mine > /root/mark`);
    expect(mine.map((line) => line.split('\n')[0])).toEqual(names);
    expect(new Set(mine.map((line) => line.split('\n')[1])).size).toBe(4);

    // Two are reset and keep their identity; the others continue.
    const reset = await ok(cowherd('reset', fleet, '3-4', '--wait', 'agent,ssh'));
    expect(reset.counts).toMatchObject({ reset: 2, started: 2, failed: 0 });
    expect((await ok(cowherd('status', fleet))).members.map(identity)).toEqual(identities);
    expect(await said('--via', 'ssh', '--', `hostname; ${key}; ls /root`)).toEqual(
      mine.map((line, at) => (at < 2 ? `${line}\nmark` : line)),
    );

    const [last] = (await ok(cowherd('inventory', fleet, '4'))).members;
    expect(last).toMatchObject({ name: names[3], host: '127.0.0.1', port: identities[3]?.sshPort });
    await ok(cowherd('teardown', fleet, '--yes', '--with-base'));
    expect((await ok(cowherd('list'))).fleets).toEqual([]);
  });
});
