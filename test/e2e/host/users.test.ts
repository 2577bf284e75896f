import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { buildGolden } from '../../../scripts/golden.js';
import { domains, guest, until, uri, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const id = randomBytes(3).toString('hex');

/** An installed cowherd, run outside the repository by root and by unprivileged users. */
describe('the installed package', () => {
  let scratch: string;
  let installed: string;
  const users: string[] = [];
  const groups: string[] = [];
  const stores: string[] = [];

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'cwt-users-'));
    await chmod(scratch, 0o755);
    const { stdout } = await execa('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', scratch], { cwd: repository });
    const prefix = join(scratch, 'prefix');
    await execa('npm', ['install', '--silent', '--prefer-offline', '--global', '--prefix', prefix, join(scratch, stdout.trim())]);
    installed = join(prefix, 'bin', 'cowherd');
    await buildGolden(join(scratch, 'golden.qcow2'));
    await chmod(join(scratch, 'golden.qcow2'), 0o644);
  });

  afterAll(async () => {
    for (const name of (await domains()).filter((domain) => domain.startsWith('cwt-') && domain.includes(id))) {
      await execa('virsh', ['-c', uri, 'destroy', name], { reject: false });
      await execa('virsh', ['-c', uri, 'undefine', name], { reject: false });
    }
    for (const user of users) await removeUser(user);
    for (const group of groups) await execa('groupdel', [group], { reject: false });
    for (const path of [...stores, scratch]) await rm(path, { recursive: true, force: true });
  });

  async function makeUser(name: string, ...groups: string[]): Promise<{ name: string; home: string; uid: number; gid: number }> {
    const user = `cwt-${name}-${id}`;
    const home = join(scratch, `home-${name}`);
    users.push(user);
    await execa('useradd', [
      '--create-home',
      '--home-dir',
      home,
      '--shell',
      '/bin/bash',
      ...(groups.length > 0 ? ['--groups', groups.join(',')] : []),
      user,
    ]);
    const { uid, gid } = await stat(home);
    return { name: user, home, uid, gid };
  }

  async function removeUser(user: string): Promise<void> {
    await endProcesses(user);
    await execa('userdel', ['--force', user], { reject: false });
  }

  /** Kills remaining processes of the user, such as a session libvirtd, by pid. */
  async function endProcesses(user: string): Promise<void> {
    for (let attempt = 0; attempt < 50; attempt++) {
      const { stdout } = await execa('ps', ['-u', user, '-o', 'pid=,stat='], { reject: false });
      // A zombie process does not keep anything busy.
      const alive = stdout
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter(([pid, state]) => pid && !state?.startsWith('Z'));
      if (alive.length === 0) break;
      for (const [pid] of alive) process.kill(Number(pid), attempt < 20 ? 'SIGTERM' : 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  function runAs(user: { name: string; home: string }, env: Record<string, string> = {}) {
    return async (...args: string[]) => {
      // Words after the hyphens are for the guest.
      const hyphens = args.includes('--') ? args.indexOf('--') : args.length;
      const environment = { HOME: user.home, PATH: process.env.PATH ?? '', ...env };
      const { exitCode, stdout, stderr } = await execa(
        'runuser',
        [
          '-u',
          user.name,
          '--',
          'env',
          '-i',
          ...Object.entries(environment).map(([key, value]) => `${key}=${value}`),
          installed,
          ...args.slice(0, hyphens),
          '--json',
          ...args.slice(hyphens),
        ],
        { cwd: '/', reject: false },
      );
      return { exitCode, stderr, json: stdout === '' ? undefined : JSON.parse(stdout), stdout };
    };
  }

  async function ok(run: Promise<{ exitCode?: number | undefined; stdout: string; stderr: string; json: ReturnType<typeof JSON.parse> }>) {
    const { exitCode, json, stdout, stderr } = await run;
    if (exitCode !== 0) throw new Error(`exit ${exitCode}\n${stdout}\n${stderr}`);
    return json;
  }

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

  it('works for an unprivileged user with a session libvirtd, without any setup', async () => {
    const cowherd = runAs(await makeUser('plain'));
    const fleet = `cwt-plain-${id}`;
    const outcome = await ok(
      cowherd('spawn', fleet, '--base', join(scratch, 'golden.qcow2'), '--count', '3', '--memory', '16MiB', '--wait', 'console=^OK'),
    );
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
      ['spawn', '--base', join(scratch, 'golden.qcow2'), '--count', '6', ...guest],
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

  it('lets an unprivileged user create Linux guests and log in to them', async () => {
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

  it("works for an unprivileged user in the group libvirt with the system's libvirt", async () => {
    const user = await makeUser('member', 'libvirt');
    const store = `/var/lib/libvirt/images/cwt-member-${id}`;
    stores.push(store);
    const cowherd = runAs(user, { COWHERD_STORE: store });
    const fleet = `cwt-member-${id}`;
    const spawn = ['spawn', fleet, '--base', join(scratch, 'golden.qcow2'), '--count', '3', ...guest, '--wait', 'console=^OK'];

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

  /** gid of QEMU processes of the system's libvirt. */
  async function qemuGroup(): Promise<number> {
    return Number(/<model>dac<\/model>[\s\S]*?<baselabel[^>]*>\+\d+:\+(\d+)</.exec(await virsh('capabilities'))?.[1]);
  }

  it('lets only users who may change a fleet lock it', async () => {
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
    const made = await ok(
      runAs(owner, env)('spawn', fleet, '--base', join(scratch, 'golden.qcow2'), '--count', '1', ...guest, '--no-start'),
    );
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
});
