import type { StatefulCloud } from '../test/fakes/openstack/stateful/stateful-cloud.js';
import type { Bench } from './bench.js';

/** What the benchmark of OpenStack does with the usual client: the installed one, or its requests. */

export interface ClientContext {
  bench: Pick<Bench, 'measure'>;
  cloud: StatefulCloud;
  image: string;
  flavor: string;
}

export interface OpenStackClient {
  title: string;
  /** One request for all servers; returns when the first one is active. @returns CPU seconds */
  createMany(context: ClientContext, name: string, count: number): Promise<number>;
  /** Returns when it is active again. @returns CPU seconds */
  rebuild(context: ClientContext, id: string): Promise<number>;
}

/** With networks (2.37), as for cowherd. */
const apiVersion = '2.90';

export function installedClient(path: string): OpenStackClient {
  const run = async ({ bench }: ClientContext, ...words: string[]): Promise<number> =>
    (await bench.measure(path, '--os-compute-api-version', apiVersion, ...words)).cpu_s;
  return {
    title: `openstack: ${path}`,
    createMany: (context, name, count) => {
      const many = ['--min', String(count), '--max', String(count)];
      const words = ['--image', context.image, '--flavor', context.flavor, '--nic', 'none', ...many, '--wait', name];
      return run(context, 'server', 'create', ...words);
    },
    rebuild: (context, id) => run(context, 'server', 'rebuild', '--wait', id),
  };
}

/** ms between two looks at a server, as osc-lib has it. */
const pollMs = 5_000;

/** The requests that the client sends, in their order; as recorded from python-openstackclient 6.0. */
export const emulatedClient: OpenStackClient = {
  title: 'openstack: not installed, so its requests are emulated, without the time that the client itself takes',
  async createMany(context, name, count) {
    const session = await Session.open(context);
    // Names are tried as ids first.
    await session.get('image', `/v2/images/${context.image}`);
    const { images } = await session.get('image', `/v2/images?name=${context.image}`);
    await session.get('compute', `/v2.1/flavors/${context.flavor}`);
    const { flavors } = await session.get('compute', '/v2.1/flavors');
    const flavorRef = flavors.find((flavor: any) => flavor.name === context.flavor).id;
    await session.get('compute', `/v2.1/flavors/${flavorRef}`);
    const body = { name, imageRef: images[0].id, flavorRef, networks: 'none', min_count: count, max_count: count };
    const { server } = await session.post('/v2.1/servers', { server: body });
    await session.untilActive(server.id);
    await session.get('compute', `/v2.1/servers/${server.id}`);
    await session.get('image', `/v2/images/${images[0].id}`);
    return 0;
  },
  async rebuild(context, id) {
    const session = await Session.open(context);
    const { server } = await session.get('compute', `/v2.1/servers/${id}`);
    await session.get('image', `/v2/images/${server.image.id}`);
    await session.post(`/v2.1/servers/${id}/action`, { rebuild: { imageRef: server.image.id } });
    await session.untilActive(id);
    await session.get('image', `/v2/images/${server.image.id}`);
    return 0;
  },
};

/** One command of the client: a login of its own. */
class Session {
  private constructor(
    private readonly cloud: StatefulCloud,
    private readonly token: string,
  ) {}

  static async open({ cloud }: ClientContext): Promise<Session> {
    const { OS_AUTH_URL: url, OS_PASSWORD: password } = cloud.environment;
    await fetch(url ?? '');
    const login = await fetch(`${url}/auth/tokens`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
      body: JSON.stringify({ auth: { identity: { methods: ['password'], password: { user: { password } } } } }),
    });
    const session = new Session(cloud, login.headers.get('x-subject-token') ?? '');
    await session.get('image', '');
    return session;
  }

  get(service: 'compute' | 'image', path: string): Promise<any> {
    return this.#send(service, path, { method: 'GET' });
  }

  post(path: string, body: unknown): Promise<any> {
    return this.#send('compute', path, { method: 'POST', body: JSON.stringify(body) });
  }

  async untilActive(id: string): Promise<void> {
    for (;;) {
      const { server } = await this.get('compute', `/v2.1/servers/${id}`);
      if (server.status === 'ACTIVE') return;
      if (server.status === 'ERROR') throw new Error(`server ${id} has failed`);
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }

  async #send(service: 'compute' | 'image', path: string, init: RequestInit): Promise<any> {
    const version: Record<string, string> = service === 'compute' ? { 'openstack-api-version': `compute ${apiVersion}` } : {};
    const headers = { 'x-auth-token': this.token, 'content-type': 'application/json', ...version };
    const reply = await fetch(`${this.cloud.fake.urlOf(service)}${path}`, { ...init, headers });
    const text = await reply.text();
    if (!reply.ok && reply.status !== 404 && reply.status !== 300) throw new Error(`${init.method} ${path}: ${reply.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }
}
