import { randomBytes } from 'node:crypto';
import { chmod, mkdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll } from 'vitest';
import { buildGolden } from '../../scripts/golden.js';
import { domains, uri, virsh } from './lab.js';

const repository = fileURLToPath(new URL('../..', import.meta.url));

export interface User {
  name: string;
  home: string;
}

/** What a run of the installed cowherd returned. */
export interface Run {
  exitCode: number | undefined;
  stdout: string;
  stderr: string;
  /** The result of --json; tests check single fields. */
  json: any;
}

/** An installed cowherd, run outside the repository by root and by new users. All of it is removed at the end. */
export class InstalledPackage {
  readonly id = randomBytes(3).toString('hex');
  readonly scratch = join(tmpdir(), `cwt-users-${this.id}`);
  /** The command. */
  readonly installed = join(this.scratch, 'prefix', 'bin', 'cowherd');
  readonly golden = join(this.scratch, 'golden.qcow2');
  /** To be removed at the end. */
  readonly groups: string[] = [];
  readonly stores: string[] = [];
  readonly #users: string[] = [];

  /** Installs it before the tests of the surrounding describe. */
  static use(): InstalledPackage {
    const one = new InstalledPackage();
    beforeAll(() => one.#install());
    afterAll(() => one.#remove());
    return one;
  }

  async #install(): Promise<void> {
    const { scratch, golden } = this;
    await mkdir(scratch);
    await chmod(scratch, 0o755);
    const { stdout } = await execa('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', scratch], { cwd: repository });
    const prefix = join(scratch, 'prefix');
    await execa('npm', ['install', '--silent', '--prefer-offline', '--global', '--prefix', prefix, join(scratch, stdout.trim())]);
    await buildGolden(golden);
    await chmod(golden, 0o644);
  }

  async #remove(): Promise<void> {
    for (const name of (await domains()).filter((domain) => domain.startsWith('cwt-') && domain.includes(this.id))) {
      await execa('virsh', ['-c', uri, 'destroy', name], { reject: false });
      await execa('virsh', ['-c', uri, 'undefine', name], { reject: false });
    }
    for (const user of this.#users) {
      await this.endProcesses(user);
      await execa('userdel', ['--force', user], { reject: false });
    }
    for (const group of this.groups) await execa('groupdel', [group], { reject: false });
    for (const path of [...this.stores, this.scratch]) await rm(path, { recursive: true, force: true });
  }

  readonly makeUser = async (name: string, ...groups: string[]): Promise<User & { uid: number; gid: number }> => {
    const user = `cwt-${name}-${this.id}`;
    const home = join(this.scratch, `home-${name}`);
    this.#users.push(user);
    const supplementary = groups.length > 0 ? ['--groups', groups.join(',')] : [];
    await execa('useradd', ['--create-home', '--home-dir', home, '--shell', '/bin/bash', ...supplementary, user]);
    const { uid, gid } = await stat(home);
    return { name: user, home, uid, gid };
  };

  /** Kills remaining processes of the user, such as a session libvirtd, by pid. */
  readonly endProcesses = async (user: string): Promise<void> => {
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
  };

  /** @returns a function that runs cowherd with --json in an empty environment. */
  readonly runAs = (user: User, env: Record<string, string> = {}) => {
    const environment = { HOME: user.home, PATH: process.env.PATH ?? '', ...env };
    const asUser = ['-u', user.name, '--', 'env', '-i', ...Object.entries(environment).map(([key, value]) => `${key}=${value}`)];
    return async (...args: string[]): Promise<Run> => {
      // Words after the hyphens are for the guest.
      const hyphens = args.includes('--') ? args.indexOf('--') : args.length;
      const words = [...args.slice(0, hyphens), '--json', ...args.slice(hyphens)];
      const { exitCode, stdout, stderr } = await execa('runuser', [...asUser, this.installed, ...words], { cwd: '/', reject: false });
      return { exitCode, stderr, json: stdout === '' ? undefined : JSON.parse(stdout), stdout };
    };
  };

  readonly ok = async (run: Promise<Run>): Promise<any> => {
    const { exitCode, json, stdout, stderr } = await run;
    if (exitCode !== 0) throw new Error(`exit ${exitCode}\n${stdout}\n${stderr}`);
    return json;
  };

  /** gid of QEMU processes of the system's libvirt. */
  readonly qemuGroup = async (): Promise<number> =>
    Number(/<model>dac<\/model>[\s\S]*?<baselabel[^>]*>\+\d+:\+(\d+)</.exec(await virsh('capabilities'))?.[1]);
}
