import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { parse } from 'yaml';
import { AdminApi } from '../../fixtures/openstack/admin-api.js';
import { RecordingProxy } from '../../fixtures/openstack/recording-proxy.js';
import { bin } from '../../support/lab.js';

/** A real cloud that was started by up.sh, with a store of its own for cowherd. Everything is removed at the end, also after a failure. */

const killer = fileURLToPath(new URL('../../fakes/kill-at.mjs', import.meta.url));
const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

export interface Answer {
  exitCode: number;
  signal: string | undefined;
  stderr: string;
  /** The result of --json; undefined if it is none. */
  json: any;
}

export class NightlyCloud {
  readonly hosts = ['alpha', 'beta'];
  #proxy: RecordingProxy | undefined;

  private constructor(
    /** Where the cloud keeps everything. */
    readonly dir: string,
    /** For files of the test. */
    readonly scratch: string,
    private readonly admin: AdminApi,
  ) {}

  /** @param options.fake hosts without guests */
  static async start({ fake = false } = {}): Promise<NightlyCloud> {
    const { exitCode, stdout, stderr } = await execa('bash', [script('up.sh'), ...(fake ? ['--fake'] : [])], { reject: false });
    if (exitCode !== 0) throw new Error(`the cloud did not start; run ${script('install.sh')} first\n${stderr}`);
    const dir = stdout.trim();
    const { auth } = parse(await readFile(join(dir, 'clouds.yaml'), 'utf8')).clouds['nightly-admin'];
    const admin = await AdminApi.logIn({
      ...{ OS_AUTH_URL: auth.auth_url, OS_USERNAME: auth.username, OS_PASSWORD: auth.password, OS_PROJECT_NAME: auth.project_name },
    });
    // Beside the cloud, so that it is removed with it.
    const scratch = join(dir, 'test');
    await mkdir(scratch, { mode: 0o755 });
    return new NightlyCloud(dir, scratch, admin);
  }

  /** @throws if something is left */
  async stop(): Promise<void> {
    await this.#proxy?.stop();
    await execa('bash', [script('down.sh'), this.dir]);
  }

  get store(): string {
    return join(this.scratch, 'store');
  }

  get env(): Record<string, string> {
    return {
      COWHERD_STORE: this.store,
      XDG_CONFIG_HOME: this.scratch,
      XDG_STATE_HOME: this.scratch,
      OS_CLIENT_CONFIG_FILE: join(this.#proxy === undefined ? this.dir : this.scratch, 'clouds.yaml'),
    };
  }

  /** Counts the requests of all commands from now on. */
  async countRequests(): Promise<void> {
    const { urls } = this.admin;
    const proxy = await RecordingProxy.start(urls);
    const clouds = await readFile(join(this.dir, 'clouds.yaml'), 'utf8');
    await writeFile(join(this.scratch, 'clouds.yaml'), clouds.replaceAll(urls.identity, proxy.urlOf('identity')), { mode: 0o600 });
    this.#proxy = proxy;
  }

  /** @returns the number of requests since the last call */
  takeCount(): number {
    return this.#proxy?.exchanges.splice(0).length ?? 0;
  }

  /**
   * Runs cowherd on the cloud as its ordinary user.
   * @param faults for test/fakes/kill-at.mjs, e.g. `{ KILL_AT: '3' }`
   */
  async cowherd(args: readonly string[], faults?: Record<string, string>): Promise<Answer> {
    const preload = faults === undefined ? [] : ['--import', killer];
    const variables = Object.fromEntries(Object.entries(faults ?? {}).map(([name, value]) => [`CWT_${name}`, value]));
    const call = [...preload, bin, ...args, '--connect', 'openstack://nightly', '--json'];
    const run = await execa(process.execPath, call, { env: { ...this.env, ...variables }, reject: false, timeout: 1_800_000 });
    const { exitCode = -1, signal, stderr } = run;
    return { exitCode, signal, stderr, json: jsonOrNothing(run.stdout) };
  }

  /** A command that must succeed. @returns its result */
  async ok(...args: string[]): Promise<any> {
    const { exitCode, json, stderr } = await this.cowherd(args);
    if (exitCode !== 0) throw new Error(`cowherd ${args.join(' ')} exited ${exitCode}\n${stderr}\n${JSON.stringify(json, null, 1)}`);
    return json;
  }

  /** Runs the client of OpenStack as the ordinary user. */
  async openstack(...args: string[]): Promise<string> {
    // Debian's Python: the one of another PATH has no OpenStack.
    const env = { ...this.env, OS_CLOUD: 'nightly', OS_COMPUTE_API_VERSION: '2.90', PATH: '/usr/bin:/bin' };
    return (await execa('/usr/bin/openstack', args, { env })).stdout;
  }

  /** Reads the Compute or Image API as the administrator, not counted. */
  async read(service: 'compute' | 'image', path: string): Promise<any> {
    const { token, urls } = this.admin;
    const headers = { 'x-auth-token': token, 'openstack-api-version': 'compute 2.90' };
    const reply = await fetch(`${urls[service]}${path}`, { headers });
    if (!reply.ok) throw new Error(`GET ${path}: ${reply.status} ${await reply.text()}`);
    return reply.json();
  }

  /** All servers of all projects, with their details. */
  async servers(): Promise<any[]> {
    return (await this.read('compute', '/v2.1/servers/detail?all_tenants=1')).servers;
  }

  async images(): Promise<any[]> {
    return (await this.read('image', '/v2/images')).images;
  }

  /** Runs a command in a guest. @returns its output */
  async guest(server: string, command: string): Promise<string> {
    return (await execa('bash', [script('guest.sh'), this.dir, server, command])).stdout.trim();
  }

  /** The console log of a server on its host, of all its boots. */
  async console(server: string): Promise<string> {
    const logs = this.hosts.map((host) => readFile(this.#instances(host, server, 'console.log'), 'utf8').catch(() => ''));
    return (await Promise.all(logs)).join('');
  }

  /** What is left of guests on the hosts: directories of servers, and domains. */
  async leftOnHosts(): Promise<string[]> {
    const left: string[] = [];
    for (const host of this.hosts) {
      // Nova's own: the cache of images, its locks, a file with the names of the hosts, and where it creates images of servers.
      const own = new Set(['_base', 'locks', 'compute_nodes', 'snapshots']);
      const directories = (await readdir(this.#instances(host)).catch(() => [])).filter((name) => !own.has(name));
      left.push(...(await readdir(this.#instances(host, 'snapshots')).catch(() => [])).map((name) => `${host}: snapshots/${name}`));
      left.push(...directories.map((name) => `${host}: ${name}`), ...(await this.#domains(host)).map((name) => `${host}: domain ${name}`));
    }
    return left;
  }

  /** Files and directories of cowherd's store that belong to fleets. */
  async leftInStore(): Promise<string[]> {
    const all = await readdir(this.store, { recursive: true }).catch(() => []);
    return all.filter((path) => /(^|\/)fleets\/./.test(path)).sort();
  }

  #instances(host: string, ...path: string[]): string {
    return join(this.dir, 'hosts', host, 'instances', ...path);
  }

  async #domains(host: string): Promise<string[]> {
    const list = ['virsh', '-q', '-c', 'qemu:///system', 'list', '--all', '--name'];
    const { stdout } = await execa('bash', [script('on-host.sh'), this.dir, host, ...list]);
    return stdout.split('\n').filter((name) => name.trim() !== '');
  }
}

function jsonOrNothing(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Processes and mounts that have to do with a directory. */
export async function usersOf(dir: string): Promise<string[]> {
  const users: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    const parts = await Promise.all(['cmdline', 'mountinfo'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')));
    if (parts.some((text) => text.includes(dir))) users.push(`${pid}: ${parts[0]?.replaceAll('\0', ' ').slice(0, 200)}`);
  }
  return users;
}
