import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NewServer } from '../../../../src/engines/nova/core/new-server.js';
import { FakeCloud, type Received } from '../../../fakes/openstack/fake-cloud.js';
import { basics, FastClock, openFake, rawServer } from '../../../fakes/openstack/open-fake.js';

/** A cloud that really creates, so that a lost reply leaves a server. */
const server: NewServer = {
  ...{ name: 'lab-1', imageId: 'i', flavorId: 'f', networks: 'none', tags: ['fleet', 'member-1'], uniqueTag: 'member-1', metadata: {} },
};
const isCreate = ({ method, path }: Received): boolean => method === 'POST' && path === '/v2.1/servers';

let fake: FakeCloud;
let existing: Array<Record<string, unknown>>;
/** Servers that are created, but not listed before so many lists. */
let hiddenFor: number;

beforeEach(async () => {
  fake = await FakeCloud.start();
  basics(fake);
  existing = [];
  hiddenFor = 0;
  fake.on((request) => {
    const { method, path } = request;
    if (isCreate(request)) {
      const id = `server-${existing.length + 1}`;
      existing.push(rawServer(id, { tags: server.tags, status: 'BUILD', created: `2026-01-01T00:00:0${existing.length}Z` }));
      return { status: 202, reply: { server: { id, adminPass: 'x' } } };
    }
    if (method === 'GET' && path.startsWith('/v2.1/servers/detail')) {
      const servers = hiddenFor > 0 ? [] : existing;
      hiddenFor--;
      return { status: 200, reply: { servers } };
    }
    if (method === 'DELETE') {
      existing = existing.filter(({ id }) => !path.endsWith(`/${id}`));
      return { status: 204 };
    }
    return undefined;
  });
});
afterEach(async () => {
  expect(fake.unknown).toEqual([]);
  await fake.stop();
});

const faults = ['lost', 'cut'] as const;

describe('creating a server', () => {
  it('sends one request', async () => {
    expect(await (await openFake(fake)).servers.create(server)).toEqual({ id: 'server-1', how: 'created' });
    expect([existing.length, fake.count('GET', /detail/)]).toEqual([1, 0]);
  });

  it.each(faults)('finds the server by its tag after a reply that was %s', async (kind) => {
    fake.fail(isCreate, kind);
    expect(await (await openFake(fake)).servers.create(server)).toEqual({ id: 'server-1', how: 'found' });
    expect([existing.length, fake.count('POST', /servers/)]).toEqual([1, 1]);
    expect(fake.received.filter(({ path }) => path.includes('detail')).every(({ path }) => path.endsWith('tags=member-1'))).toBe(true);
  });

  it('finds a server that appears late', async () => {
    fake.fail(isCreate, 'lost');
    hiddenFor = 3;
    const clock = new FastClock();
    expect(await (await openFake(fake, { clock })).servers.create(server)).toEqual({ id: 'server-1', how: 'found' });
    expect([existing.length, fake.count('POST', /servers/), clock.slept]).toEqual([1, 1, 7_000]);
  });

  it.each([
    'refused',
    { status: 500 },
    { status: 502, reply: '<html>Bad Gateway</html>' },
    { status: 503, headers: { 'retry-after': '1' } },
    { status: 504 },
  ] as const)('repeats the request after %j only when no server was found', async (kind) => {
    fake.fail(isCreate, kind);
    expect(await (await openFake(fake)).servers.create(server)).toEqual({ id: 'server-1', how: 'created' });
    const requests = fake.received.filter(({ path }) => path.startsWith('/v2.1/servers')).map(({ method }) => method);
    expect(requests.slice(0, 6)).toEqual(['POST', 'GET', 'GET', 'GET', 'GET', 'POST']);
    expect(existing).toHaveLength(1);
  });

  it('after a timeout does not create a second server', async () => {
    fake.fail(isCreate, 'silence');
    existing.push(rawServer('slow', { tags: server.tags }));
    expect(await (await openFake(fake, { timeoutMs: 1_000 })).servers.create(server)).toEqual({ id: 'slow', how: 'found' });
    expect(fake.count('POST', /servers/)).toBe(1);
  });

  it('keeps the oldest server if an earlier request was done after all', async () => {
    fake.fail(isCreate, 'lost');
    hiddenFor = 4;
    expect(await (await openFake(fake)).servers.create(server)).toEqual({ id: 'server-1', how: 'found' });
    expect(existing.map(({ id }) => id)).toEqual(['server-1']);
    expect(fake.received.filter(({ method }) => method === 'DELETE').map(({ path }) => path)).toEqual(['/v2.1/servers/server-2']);
  });

  it('repeats after 429 without looking, since nothing was done', async () => {
    fake.fail(isCreate, { status: 429, headers: { 'retry-after': '3' } }, 2);
    const clock = new FastClock();
    expect(await (await openFake(fake, { clock })).servers.create(server)).toEqual({ id: 'server-1', how: 'created' });
    expect([clock.pauses, fake.count('GET', /detail/)]).toEqual([[3_000, 3_000], 0]);
  });

  it('repeats with a new token after 401', async () => {
    const cloud = await openFake(fake);
    await cloud.microversion();
    fake.expireTokens();
    expect(await cloud.servers.create(server)).toEqual({ id: 'server-1', how: 'created' });
    expect([existing.length, fake.count('POST', /servers/)]).toEqual([1, 2]);
  });

  it('does not repeat what the cloud refuses', async () => {
    fake.fail(isCreate, {
      status: 403,
      reply: { forbidden: { code: 403, message: 'Quota exceeded for instances: Requested 1, but already used 2 of 2 instances' } },
    });
    await expect((await openFake(fake)).servers.create(server)).rejects.toMatchObject({
      ...{
        code: 'PREFLIGHT_FAILED',
        status: 403,
        message: expect.stringContaining('Quota exceeded'),
        hint: expect.stringContaining('quota'),
      },
    });
    expect(fake.count('POST', /servers/)).toBe(1);
  });

  it('gives up after some tries, and says that it is not known whether there is a server', async () => {
    fake.fail(isCreate, 'refused', 10);
    const promise = (await openFake(fake)).servers.create(server);
    await expect(promise).rejects.toMatchObject({ code: 'CONNECTION_FAILED', message: expect.stringContaining('create server lab-1') });
    expect(fake.count('POST', /servers/)).toBe(3);
  });
});

describe('actions', () => {
  const act = (view: Record<string, unknown> | undefined, conflict = 'busy'): void => {
    let actions = 0;
    fake.on(({ method, path }) => {
      if (path === '/v2.1/servers/a/action')
        return ++actions === 1 ? { status: 202 } : { status: 409, reply: { conflictingRequest: { message: conflict } } };
      if (method !== 'GET' || path !== '/v2.1/servers/a') return undefined;
      return view === undefined ? { status: 404 } : { status: 200, reply: { server: rawServer('a', view) } };
    });
  };
  const target = { id: 'a', name: 'lab-1' };
  const rebuild = { kind: 'rebuild', imageId: 'i', endsIn: 'ACTIVE' } as const;
  const isAction = ({ path }: Received): boolean => path.endsWith('/action');

  it.each([
    ['rebuild', { status: 'REBUILD', 'OS-EXT-STS:task_state': 'rebuild_spawning', image: { id: 'i' } }],
    ['start', { status: 'ACTIVE' }],
    ['stop', { status: 'ACTIVE', 'OS-EXT-STS:task_state': 'powering-off' }],
  ] as const)('%s: a conflict after a lost reply is none if the cloud is already doing it', async (verb, view) => {
    act(view);
    fake.fail(isAction, 'lost');
    const { servers } = await openFake(fake);
    await (verb === 'rebuild' ? servers.rebuild(target, rebuild) : servers[verb](target));
    expect(fake.count('POST', /action/)).toBe(2);
  });

  it.each([
    [{ status: 'ACTIVE', 'OS-EXT-STS:task_state': 'image_snapshot', image: { id: 'i' } }],
    [{ status: 'REBUILD', 'OS-EXT-STS:task_state': 'rebuilding', image: { id: 'other' } }],
    [undefined],
  ])('a conflict with another task is an error: %j', async (view) => {
    act(view);
    fake.fail(isAction, 'lost');
    await expect((await openFake(fake)).servers.rebuild(target, rebuild)).rejects.toMatchObject({ code: 'LOCKED', status: 409 });
  });

  it('deleting what is gone is no error, also after a lost reply', async () => {
    existing.push(rawServer('a'));
    const isDelete = ({ method }: Received): boolean => method === 'DELETE';
    fake.fail(isDelete, 'lost');
    fake.fail((request) => isDelete(request) && existing.length === 0, { status: 404 });
    expect(await (await openFake(fake)).servers.delete(target)).toBe('gone');
    expect(existing).toEqual([]);
  });

  it('an image of a server whose reply was lost is found by its property', async () => {
    let images: unknown[] = [];
    fake.on(({ service, path, request }) => {
      if (isAction({ path } as Received)) {
        images = [{ id: 'image-1', status: 'queued', created_at: '2026', ...(request as any).createImage.metadata }];
        return { status: 202, reply: { image_id: 'image-1' } };
      }
      return service === 'image' ? { status: 200, reply: { images: path === '/v2/images?request=r1' ? images : [] } } : undefined;
    });
    const image = { name: 'promoted', properties: { request: 'r1' }, uniqueProperty: 'request' };
    fake.fail(isAction, 'lost');
    const cloud = await openFake(fake);
    expect(await cloud.createServerImage(target, image)).toBe('image-1');
    images = [];
    fake.fail(isAction, 'refused');
    await expect(cloud.createServerImage(target, image)).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
    expect(fake.count('POST', /action/)).toBe(2);
  });
});
