import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Outcome } from '../../../src/core/fleet/outcome.js';
import type { NovaContext } from '../../../src/engines/nova/context.js';
import type { Engine } from '../../../src/services/engine/engine.js';
import type { SpawnOptions } from '../../../src/services/fleet/spawn/input/options.js';
import { FakeSsh } from '../../fakes/openstack/fake-ssh.js';
import { FastClock, openFake } from '../../fakes/openstack/open-fake.js';
import { statusOf } from '../../fakes/openstack/stateful/server-views.js';
import { StatefulCloud } from '../../fakes/openstack/stateful/stateful-cloud.js';
import type { CloudServer, WorldOptions } from '../../fakes/openstack/stateful/world.js';
import { labPorts, labUri, openLabEngine } from './lab-engine.js';

export const fleet = 'lab';
export const base = 'golden';

/** The engine of OpenStack on a fake cloud, with its records in a directory of its own. */
export class NovaLab {
  readonly ssh = new FakeSsh();
  readonly #opened: Array<{ close(): void | Promise<void> }> = [];

  private constructor(
    readonly cloud: StatefulCloud,
    readonly root: string,
    /** Of the engines that run in this process. */
    readonly clock: FastClock,
  ) {}

  /**
   * A cloud with an image named golden and a network named private.
   * @param options as for the cloud. By default its time passes with the requests that read servers or images, so that it passes for other
   * processes, too
   */
  static async open(options: WorldOptions = {}): Promise<NovaLab> {
    const lab = await NovaLab.openEmpty(new FastClock(), { msPerRead: 700, ...options });
    lab.cloud.addImage({ name: base });
    return lab;
  }

  /** A cloud whose time is that of the engine's clock, so that the number of its requests is realistic. */
  static async openTimed(options: WorldOptions = {}): Promise<NovaLab> {
    const lab = await NovaLab.openEmpty(new FastClock(), options);
    lab.cloud.addImage({ name: base });
    return lab;
  }

  /** A cloud without images. @param options by default, its time is that of the clock */
  static async openEmpty(clock = new FastClock(), options: WorldOptions = {}): Promise<NovaLab> {
    const root = await mkdtemp(join(tmpdir(), 'cwt-nova-'));
    const now = options.msPerRead === undefined ? { now: () => clock.waited } : {};
    const cloud = await StatefulCloud.start({ ...now, networks: ['private'], ...options });
    return new NovaLab(cloud, root, clock);
  }

  async close(): Promise<void> {
    for (const one of this.#opened) await one.close();
    await this.cloud.stop();
    await rm(this.root, { recursive: true, force: true });
  }

  /** A new engine, as each command opens one. */
  async engine(options: { concurrency?: number } = {}): Promise<Engine> {
    const { root, clock, ssh: remote } = this;
    const engine = await openLabEngine({ root, clock, remote, environment: this.cloud.environment, ...options });
    this.#opened.push(engine);
    return engine;
  }

  /** What the engine gives to each command, for tests of a single one. */
  async context(): Promise<NovaContext> {
    const { root, clock, ssh: remote } = this;
    const cloud = await openFake(this.cloud.fake, { clock });
    this.#opened.push(cloud);
    return { cloud, ports: labPorts({ root, clock, remote }), uri: labUri, title: 'cloud lab' };
  }

  /** @param count undefined: as many as there are */
  async spawn(count: number | undefined, options: Partial<SpawnOptions> = {}): Promise<Outcome> {
    return (await this.engine()).spawn({ ...spawnOptions(count), ...options });
  }

  /** Requests to the cloud that some work takes. */
  async requestsOf(work: () => Promise<unknown>): Promise<number> {
    const before = this.cloud.fake.received.length;
    await work();
    return this.cloud.fake.received.length - before;
  }

  /** Servers that were created by a fleet of this engine: they have its tags. By name, since they are created at the same time. */
  get members(): CloudServer[] {
    return this.cloud.servers.filter(({ tags }) => tags.includes('cowherd')).sort((a, b) => a.name.localeCompare(b.name));
  }

  /** Name and state of each member, by name. */
  get states(): Array<[string, string]> {
    return this.members.map(({ name, vmState }): [string, string] => [name, vmState]).sort();
  }

  /** What must be the same after a command that was killed and resumed. */
  async view(): Promise<unknown> {
    this.cloud.settle();
    const nameOf = (imageId: string): string | null => this.cloud.world.images.get(imageId)?.name ?? null;
    return {
      servers: this.cloud.servers
        .map((server) => ({ name: server.name, status: statusOf(server), image: nameOf(server.imageId), files: [...server.files].sort() }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
      images: this.cloud.images.map(({ name, status, isProtected }) => `${name} ${status}${isProtected ? ' protected' : ''}`).sort(),
      fleets: (await readdir(join(this.root, 'fleets')).catch(() => [])).sort(),
      files: (await readdir(join(this.root, 'fleets', fleet)).catch(() => [])).filter((name) => name !== 'history.jsonl').sort(),
    };
  }
}

export function spawnOptions(count: number | undefined): SpawnOptions {
  return { fleet, base, count, placement: { flavor: 'cow.tiny' } };
}

/** {@link NovaLab.states} of that many members that run. */
export function running(count: number): Array<[string, string]> {
  return Array.from({ length: count }, (_, index) => [`${fleet}-${String(index + 1).padStart(3, '0')}`, 'active']);
}

export function failedOf({ members }: Outcome): Outcome['members'] {
  return members.filter(({ outcome }) => outcome === 'failed');
}
