import type { Received, Reply } from '../fake-cloud.js';
import { serviceNames } from '../recording.js';
import type { World } from './world.js';

/** Login, service catalog, and what the services say about their versions. @returns undefined: another request */
export function entryApi(world: World, { service, method, path, request }: Received): Reply | undefined {
  const route = (path.split('?')[0] ?? '').replace(/\/+$/, '');
  if (service === 'identity' && method === 'POST' && route === '/v3/auth/tokens') return logIn(world, request);
  if (method !== 'GET') return undefined;
  if (service === 'identity' && (route === '' || route === '/v3')) {
    const version = { id: 'v3.14', status: 'stable', links: [{ rel: 'self', href: 'http://identity.cloud.test/v3/' }] };
    return route === '' ? { status: 300, reply: { versions: { values: [version] } } } : { status: 200, reply: { version } };
  }
  if (service === 'compute' && (route === '' || route === '/v2.1')) {
    const max = world.options.microversion ?? '2.93';
    const links = [{ rel: 'self', href: 'http://compute.cloud.test/v2.1/' }];
    const version = { id: 'v2.1', status: 'CURRENT', version: max, min_version: '2.1', links };
    return { status: 200, reply: route === '' ? { versions: [version] } : { version } };
  }
  if (service === 'image' && (route === '' || route === '/versions')) {
    const version = { id: 'v2.15', status: 'CURRENT', links: [{ rel: 'self', href: 'http://image.cloud.test/v2/' }] };
    return { status: route === '' ? 300 : 200, reply: { versions: [version] } };
  }
  if (service === 'network' && route === '') {
    const version = { id: 'v2.0', status: 'CURRENT', links: [{ rel: 'self', href: 'http://network.cloud.test/v2.0/' }] };
    return { status: 200, reply: { versions: [version] } };
  }
  if (service === 'network' && route === '/v2.0/networks') return networks(world, path);
  return undefined;
}

/** As FakeCloud.environment says. */
const rightSecret = 'correct-horse';

function logIn(world: World, request: any): Reply {
  const { password, application_credential: credential } = request?.auth?.identity ?? {};
  if ((password?.user?.password ?? credential?.secret) !== rightSecret) {
    const message = 'The request you have made requires authentication.';
    return { status: 401, reply: { error: { code: 401, message, title: 'Unauthorized' } } };
  }
  const issued = Date.now();
  const domain = { id: 'default', name: 'Default' };
  const roles = ['member', 'reader', ...(world.isAdmin ? ['admin'] : [])].map((name) => ({ id: name, name }));
  return {
    status: 201,
    reply: {
      token: {
        ...{ methods: [credential === undefined ? 'password' : 'application_credential'], is_domain: false, roles },
        ...{ user: { domain, id: world.userId, name: 'user' }, project: { domain, id: world.projectId, name: 'project' } },
        ...{ issued_at: new Date(issued).toISOString() },
        expires_at: new Date(issued + (world.options.tokenLife ?? 3_600) * 1_000).toISOString(),
        catalog: serviceNames.map(catalogEntry),
      },
    },
  };
}

function catalogEntry(type: (typeof serviceNames)[number]): unknown {
  const url = `http://${type}.cloud.test${{ identity: '/v3', compute: '/v2.1', image: '', network: '' }[type]}`;
  const endpoint = { region_id: 'RegionOne', region: 'RegionOne', url };
  const endpoints = ['public', 'internal', 'admin'].map((one) => ({ id: `${type}-${one}`, interface: one, ...endpoint }));
  return { id: type, type, name: type, endpoints };
}

function networks(world: World, path: string): Reply {
  const query = new URLSearchParams(path.split('?')[1]);
  const found = world.networks.filter(({ id, name }) => (query.get('name') ?? name) === name && (query.get('id') ?? id) === id);
  return { status: 200, reply: { networks: found.map((network) => ({ ...network, status: 'ACTIVE' })) } };
}
