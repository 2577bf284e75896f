import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa, type ResultPromise } from 'execa';
import { afterAll, beforeAll, inject } from 'vitest';
import { buildGolden } from '../../scripts/golden.js';
import { type BootMarker, readBootMarker } from '../../src/core/image/boot-sector.js';
import { runHere } from './run-in-process.js';

/** A store, golden images and fleets of one test file, on the real libvirt. Everything is removed at the end, also after a failure. */

export const bin = fileURLToPath(new URL('../../bin/run.js', import.meta.url));
const killer = fileURLToPath(new URL('../fakes/kill-at.mjs', import.meta.url));
export const uri = 'qemu:///system';
/** Small, headless, and without a network card. */
export const guest = ['--memory', '16MiB', '--network', 'none'];

export interface Answer {
  exitCode: number;
  stdout: string;
  stderr: string;
  /** The result of --json; tests check single fields. */
  json: any;
}

export class Lab {
  readonly id = randomBytes(3).toString('hex');
  readonly bin = bin;
  /** A directory that QEMU's user can traverse. */
  readonly store = `/var/lib/libvirt/images/cwt-${this.id}`;
  readonly scratch = `/tmp/cwt-${this.id}`;

  /** @param options.isProbed whether its store already contains the result of the accelerator probe */
  static async open({ isProbed = true } = {}): Promise<Lab> {
    const lab = new Lab();
    await lab.create(isProbed);
    return lab;
  }

  /** Opens a lab before the tests of the surrounding describe, and closes it after them. @param prepare runs once it is open */
  static use(prepare?: () => Promise<void>): Lab {
    return Lab.useAs(new Lab(), prepare);
  }

  /** As {@link use}, for a lab with more methods. */
  static useAs<L extends Lab>(lab: L, prepare: () => Promise<void> = async () => undefined): L {
    beforeAll(async () => {
      await lab.create();
      await prepare();
    });
    afterAll(() => lab.close());
    return lab;
  }

  async create(isProbed = true): Promise<void> {
    await mkdir(this.scratch, { mode: 0o755 });
    if (!isProbed) return;
    await mkdir(this.store, { mode: 0o755 });
    const answer = inject('accelerator');
    if (answer !== '') await writeFile(this.path('accelerator.json'), answer);
  }

  /** A unique fleet name. */
  fleet(name: string): string {
    return `cwt-${name}-${this.id}`;
  }

  path(...parts: string[]): string {
    return join(this.store, ...parts);
  }

  async golden(name: string, options?: Parameters<typeof buildGolden>[1]): Promise<string> {
    const path = join(this.scratch, name);
    await buildGolden(path, options);
    return path;
  }

  get env(): Record<string, string> {
    // The user who runs the tests may have defaults set.
    return { COWHERD_STORE: this.store, LIBVIRT_DEFAULT_URI: uri, XDG_CONFIG_HOME: this.scratch, XDG_STATE_HOME: this.scratch };
  }

  /** Spawns small guests. @returns the name of their fleet */
  async spawned(name: string, base: string, count: number, ...more: string[]): Promise<string> {
    const fleet = this.fleet(name);
    await this.ok('spawn', fleet, '--base', base, '--count', String(count), ...guest, ...more);
    return fleet;
  }

  /** Starts cowherd without waiting for it, for tests that interrupt it. */
  begin(...args: string[]): ResultPromise<{ reject: false; env: Record<string, string> }> {
    return execa(process.execPath, [bin, ...args], { env: this.env, reject: false });
  }

  /**
   * Runs cowherd with a preload that counts its changes and kills it at one of them, see test/fakes/kill-at.mjs.
   * @param faults e.g. `{ KILL_AT: '3' }`
   */
  async faulty(faults: Record<string, string>, ...args: string[]): Promise<{ exitCode: number | undefined; signal: string | undefined }> {
    const env = Object.fromEntries(Object.entries(faults).map(([name, value]) => [`CWT_${name}`, value]));
    const run = execa(process.execPath, ['--import', killer, bin, ...args], { env: { ...this.env, ...env }, reject: false });
    const { exitCode, signal } = await run;
    await this.unlocked();
    return { exitCode, signal };
  }

  /** Waits for child processes of a killed run (virsh, qemu-img): they continue for a moment and hold its locks. */
  async unlocked(): Promise<void> {
    for (const room of ['fleets', 'bases', 'snapshots']) {
      for (const name of (await readdir(this.path(room)).catch(() => [])).filter((entry) => entry.endsWith('.lock'))) {
        const isFree = async () => (await execa('flock', ['-n', this.path(room, name), 'true'], { reject: false })).exitCode === 0;
        await until(`${name} to be free`, isFree);
      }
    }
  }

  async cowherd(...args: string[]): Promise<Answer> {
    const { exitCode = -1, stdout, stderr } = await this.begin(...args);
    return {
      exitCode,
      stdout: String(stdout),
      stderr: String(stderr),
      json: args.includes('--json') ? JSON.parse(String(stdout)) : undefined,
    };
  }

  /** Runs cowherd in this process: for tests that do not check its text. */
  answer(...args: string[]): Promise<Pick<Answer, 'exitCode' | 'json'>> {
    return runHere(args, this.env);
  }

  /** Runs a command that must succeed, in this process. @returns its JSON */
  async ok(...args: string[]): Promise<Answer['json']> {
    const { exitCode, json } = await this.answer(...args);
    if (exitCode !== 0) throw new Error(`cowherd ${args.join(' ')} exited ${exitCode}\n${JSON.stringify(json, null, 2)}`);
    return json;
  }

  /** Data that the boot-sector guest of a member has written into its overlay. The member must be stopped. */
  async marker(fleet: string, member: string): Promise<BootMarker | undefined> {
    const raw = join(this.scratch, `${member}.raw`);
    await execa('qemu-img', [
      'dd',
      '-f',
      'qcow2',
      '-O',
      'raw',
      'bs=512',
      'skip=1',
      'count=2',
      `if=${this.overlay(fleet, member)}`,
      `of=${raw}`,
    ]);
    const handle = await open(raw, 'r');
    try {
      const { buffer } = await handle.read(Buffer.alloc(512), 0, 512, 0);
      return readBootMarker(buffer);
    } finally {
      await handle.close();
      await rm(raw);
    }
  }

  overlay(fleet: string, member: string): string {
    return this.path('fleets', fleet, 'overlays', `${member}.qcow2`);
  }

  console(fleet: string, member: string): Promise<string> {
    return readFile(this.path('fleets', fleet, 'logs', `${member}.log`), 'utf8');
  }

  /** Defines a domain that cowherd did not create. */
  async defineForeign(name: string, inside = ''): Promise<void> {
    const path = join(this.scratch, `${name}.xml`);
    await writeFile(
      path,
      `<domain type='qemu'><name>${name}</name>${inside}<memory unit='MiB'>16</memory><os><type>hvm</type></os></domain>`,
    );
    await virsh('define', path);
  }

  /** Redefines a domain without cowherd. */
  async redefine(xml: string): Promise<void> {
    const path = join(this.scratch, 'redefined.xml');
    await writeFile(path, xml);
    await virsh('define', path);
  }

  /** The complete state of a fleet, with values that differ between fleets masked, for comparison. */
  async world(fleet: string): Promise<object> {
    const names = (await domains()).filter((name) => name.startsWith(`${fleet}-`));
    const members = await Promise.all(
      names.map(async (name) => {
        const xml = await virsh('dumpxml', '--inactive', name);
        return { name: name.replace(fleet, 'F'), state: (await virsh('domstate', name)).trim(), xml: mask(xml, fleet) };
      }),
    );
    const files = await readdir(this.path('fleets', fleet), { recursive: true }).catch(() => []);
    const record = JSON.parse(await readFile(this.path('fleets', fleet, 'fleet.json'), 'utf8').catch(() => '{}'));
    return {
      members: members.sort((a, b) => a.name.localeCompare(b.name)),
      files: files.map((file) => file.replaceAll(fleet, 'F')).sort(),
      recorded: record.members?.map((member: { name: string }) => member.name.replace(fleet, 'F')),
    };
  }

  /** Removes exactly what carries this lab's prefix. */
  async close(): Promise<void> {
    for (const name of (await domains()).filter((domain) => domain.includes(`-${this.id}-`))) {
      await execa('virsh', ['-c', uri, 'destroy', name], { reject: false });
      await execa('virsh', ['-c', uri, 'undefine', name, '--nvram', '--managed-save', '--snapshots-metadata', '--checkpoints-metadata'], {
        reject: false,
      });
    }
    await rm(this.store, { recursive: true, force: true });
    await rm(this.scratch, { recursive: true, force: true });
  }
}

export async function virsh(...args: string[]): Promise<string> {
  return (await execa('virsh', ['-q', '-c', uri, ...args], { env: { LC_ALL: 'C' } })).stdout;
}

export async function domains(): Promise<string[]> {
  return (await virsh('list', '--all', '--name')).split('\n').filter((name) => name !== '');
}

/** Waits until a condition holds. */
export async function until(what: string, condition: () => Promise<boolean>, seconds = 60): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function mask(xml: string, fleet: string): string {
  return xml
    .replaceAll(fleet, 'F')
    .replace(/<uuid>[^<]+/g, '<uuid>U')
    .replace(/<genid>[^<]+/g, '<genid>G')
    .replace(/fleetId="[^"]+"/g, 'fleetId="I"')
    .replace(/definition="[^"]+"/g, 'definition="D"')
    .replace(/<mac address='[^']+'/g, "<mac address='M'");
}
