import type { NightlyCloud } from './cloud.js';
import type { KillScenario } from './kill-matrix.js';

/** A fleet of three, and the commands that are killed. */

/** Servers by name, before the command. */
type Before = ReadonlyMap<string, { id: string; rebuilds: number }>;

/** Names of two base images. */
export interface Images {
  first: string;
  second: string;
}

export class KillFleet {
  readonly name = 'killed';
  readonly #spawn: string[];
  /** The image that the next rebase leads to. */
  #target: string;

  constructor(
    private readonly cloud: NightlyCloud,
    private readonly images: Images,
    spawnFlags: readonly string[],
  ) {
    this.#spawn = ['spawn', this.name, '--base', images.first, '--count', '3', ...spawnFlags];
    this.#target = images.first;
  }

  get scenarios(): Record<'spawn' | 'reset' | 'rebase' | 'teardown', KillScenario<Before>> {
    const { name: fleet } = this;
    const view = (before: Before): Promise<unknown> => this.#view(before);
    const setUp = (): Promise<Before> => this.#running();
    return {
      spawn: { fleet, view, setUp: () => this.#gone(), args: () => this.#spawn },
      reset: { fleet, view, setUp, args: () => ['reset', fleet] },
      rebase: { fleet, view, setUp: () => this.#running(true), args: () => ['rebase', fleet, '--base', this.#target] },
      teardown: { fleet, view, setUp, args: () => ['teardown', fleet, '--yes'] },
    };
  }

  async #gone(): Promise<Before> {
    this.#target = this.images.first;
    const { exitCode, json, stderr } = await this.cloud.cowherd(['teardown', this.name, '--yes']);
    if (exitCode !== 0 && json?.error?.code !== 'FLEET_NOT_FOUND') throw new Error(`teardown exited ${exitCode}\n${stderr}`);
    return new Map();
  }

  /** @param isRebase then each run leads to the other image */
  async #running(isRebase = false): Promise<Before> {
    if ((await this.#servers()).length < 3) {
      await this.cloud.ok(...this.#spawn);
      this.#target = this.images.first;
    }
    if (isRebase) this.#target = this.#target === this.images.first ? this.images.second : this.images.first;
    const servers = await this.#servers();
    return new Map(
      await Promise.all(
        servers.map(
          async ({ id, name }) => [name, { id, rebuilds: await this.#rebuilds(id) }] as [string, { id: string; rebuilds: number }],
        ),
      ),
    );
  }

  /** What is compared: with the ids of servers that existed before, since they must not change. */
  async #view(before: Before): Promise<unknown> {
    const [servers, images] = await Promise.all([this.#servers(), this.cloud.images()]);
    const names = new Map(images.map(({ id, name }) => [id, name]));
    const members = servers.map(async (server) => {
      const old = before.get(server.name);
      return {
        name: server.name,
        state: [server.status, server['OS-EXT-STS:task_state']],
        isTarget: names.get(server.image.id) === this.#target,
        keepsId: old === undefined ? undefined : old.id === server.id,
        // More than once if the run was killed in between.
        isRebuilt: (await this.#rebuilds(server.id)) > (old?.rebuilds ?? 0),
      };
    });
    return {
      members: (await Promise.all(members)).sort((a, b) => a.name.localeCompare(b.name)),
      // The history has no commands that changed nothing: a resume of a run that was killed after its last change.
      store: (await this.cloud.leftInStore()).filter((path) => !path.endsWith('/history.jsonl')),
      images: [...names.values()].sort(),
    };
  }

  async #servers(): Promise<any[]> {
    return (await this.cloud.servers()).filter(({ name }) => name.startsWith(`${this.name}-`));
  }

  async #rebuilds(id: string): Promise<number> {
    const { instanceActions } = await this.cloud.read('compute', `/v2.1/servers/${id}/os-instance-actions`);
    return instanceActions.filter(({ action }: { action: string }) => action === 'rebuild').length;
  }
}
