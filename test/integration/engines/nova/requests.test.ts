import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeCloud, type Received } from '../../../fakes/openstack/fake-cloud.js';
import { basics, FastClock, openFake, rawServer } from '../../../fakes/openstack/open-fake.js';

const isList = ({ path }: Received): boolean => path.startsWith('/v2.1/servers/detail');
const listOf = (...servers: unknown[]): { status: number; reply: unknown } => ({ status: 200, reply: { servers } });

let fake: FakeCloud;
beforeEach(async () => {
  fake = await FakeCloud.start();
  basics(fake);
  fake.on((request) => (isList(request) ? listOf(rawServer('a')) : undefined));
});
afterEach(async () => {
  expect(fake.unknown).toEqual([]);
  await fake.stop();
});

describe('a request that changes nothing', () => {
  it.each([
    ['a lost reply', 'lost'],
    ['a refused connection', 'refused'],
    ['a reply that breaks off', 'cut'],
    ['status 500', { status: 500, reply: { computeFault: { code: 500, message: 'Unexpected API Error' } } }],
    ['status 503', { status: 503, reply: 'down for maintenance' }],
    ['status 429', { status: 429, headers: { 'retry-after': '1' } }],
  ] as const)('is repeated after %s', async (_name, kind) => {
    fake.fail(isList, kind, 2);
    const cloud = await openFake(fake);
    expect((await cloud.servers.list(['t'])).map(({ id }) => id)).toEqual(['a']);
    expect(fake.count('GET', /servers.detail/)).toBe(3);
    expect(cloud.counts).toMatchObject({ requests: 5, repeated: 2, byRoute: { 'GET /servers/detail': 3 } });
  });

  it('is repeated after a timeout, and fails when the limit is reached', async () => {
    fake.fail(isList, 'silence', 1);
    const cloud = await openFake(fake, { timeoutMs: 500 });
    expect(await cloud.servers.list(['t'])).toHaveLength(1);
    const before = fake.count('GET', /servers.detail/);
    fake.fail(isList, 'silence', 100);
    await expect(cloud.servers.list(['t'])).rejects.toMatchObject({
      ...{ code: 'TOOL_TIMEOUT', message: expect.stringContaining('no reply within') },
      hint: expect.stringContaining('--concurrency'),
    });
    expect(fake.count('GET', /servers.detail/) - before).toBe(8);
  });

  it('waits as Retry-After says', async () => {
    fake.fail(isList, { status: 503, headers: { 'retry-after': '17' } });
    const clock = new FastClock();
    await (await openFake(fake, { clock })).servers.list(['t']);
    expect(clock.pauses).toEqual([17_000]);
  });

  it('gives up at once if Retry-After is too long, and says why', async () => {
    fake.fail(isList, {
      status: 429,
      headers: { 'retry-after': '3600' },
      reply: { overLimit: { code: 429, message: 'Too many requests.' } },
    });
    await expect((await openFake(fake)).servers.list(['t'])).rejects.toMatchObject({
      ...{ code: 'CONNECTION_FAILED', status: 429, message: 'Could not list the servers: Too many requests.' },
    });
    expect(fake.count('GET', /servers.detail/)).toBe(1);
  });
});

it('a token that expires midway is renewed once, for all requests that need it', async () => {
  const cloud = await openFake(fake);
  await cloud.servers.list(['t']);
  fake.expireTokens();
  await Promise.all(Array.from({ length: 10 }, () => cloud.servers.list(['t'])));
  expect(fake.count('POST', /auth.tokens/)).toBe(2);
  expect(fake.received.filter(({ token }) => token === 'token-of-the-fake-2')).toHaveLength(10);
});

it('a token is renewed before it expires', async () => {
  fake = await replaced(fake, { life: 600 });
  const clock = new FastClock();
  const cloud = await openFake(fake, { clock });
  await cloud.servers.list(['t']);
  await clock.sleep(541_000);
  await cloud.servers.list(['t']);
  expect(fake.count('POST', /auth.tokens/)).toBe(2);
  expect(fake.received.some(({ path, token }) => path.includes('detail') && token === 'token-of-the-fake-2')).toBe(true);
});

it('a new token that is refused, too, is an error and no endless loop', async () => {
  fake.fail(isList, { status: 401, reply: { error: { message: 'The request you have made requires authentication.' } } }, 10);
  await expect((await openFake(fake)).servers.list(['t'])).rejects.toMatchObject({ code: 'CONNECTION_FAILED', status: 401 });
  expect(fake.count('GET', /servers.detail/)).toBe(2);
});

it('at most as many requests are in flight as concurrency says', async () => {
  fake.delayMs = 20;
  const cloud = await openFake(fake, { concurrency: 3 });
  await Promise.all(Array.from({ length: 20 }, () => cloud.servers.list(['t'])));
  expect(fake.mostInFlight).toBe(3);
});

it('one request at a time is enough', async () => {
  const cloud = await openFake(fake, { concurrency: 1 });
  await Promise.all([cloud.servers.list(['t']), cloud.servers.list(['t'])]);
  expect(fake.mostInFlight).toBe(1);
});

describe('an interruption', () => {
  it('ends a request without a reply', async () => {
    fake.fail(isList, 'silence');
    const cloud = await openFake(fake);
    const end = new AbortController();
    setTimeout(() => end.abort(), 100);
    await expect(cloud.servers.list(['t'], { signal: end.signal })).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });

  it('ends a pause', async () => {
    fake.fail(isList, { status: 503, headers: { 'retry-after': '60' } });
    const end = new AbortController();
    const clock = new FastClock();
    clock.sleep = async () => end.abort();
    const cloud = await openFake(fake, { clock });
    await expect(cloud.servers.list(['t'], { signal: end.signal })).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(fake.count('GET', /servers.detail/)).toBe(1);
  });

  it('of one call does not end the login that others wait for', async () => {
    fake.delayMs = 100;
    const cloud = await openFake(fake);
    const end = new AbortController();
    const calls = [cloud.servers.list(['t'], { signal: end.signal }), cloud.servers.list(['t'])];
    setTimeout(() => end.abort(), 30);
    const [first, second] = await Promise.allSettled(calls);
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'INTERRUPTED' } });
    expect(second?.status).toBe('fulfilled');
  });
});

describe('pages', () => {
  const page = (servers: string[], next?: string): { status: number; reply: unknown } => {
    const links = next === undefined ? {} : { servers_links: [{ rel: 'next', href: `http://wrong.example/servers?marker=${next}` }] };
    return { status: 200, reply: { servers: servers.map((id) => rawServer(id)), ...links } };
  };
  const marker = ({ path }: Received): string | null => new URLSearchParams(path.split('?')[1]).get('marker');
  const ids = async (): Promise<string[]> => (await (await openFake(fake)).servers.list(['t'])).map(({ id }) => id);

  it('are read to the last one, at the own URL', async () => {
    fake.on((request) =>
      isList(request) ? { null: page(['a', 'b'], 'b'), b: page(['c'], 'c'), c: page([]) }[String(marker(request))] : undefined,
    );
    expect(await ids()).toEqual(['a', 'b', 'c']);
    expect(fake.received.filter(isList).every(({ path }) => path.includes('tags=t'))).toBe(true);
  });

  it('that change between the requests name no server twice', async () => {
    fake.on((request) => (isList(request) ? (marker(request) === null ? page(['a', 'b'], 'b') : page(['b', 'c'])) : undefined));
    expect(await ids()).toEqual(['a', 'b', 'c']);
  });

  it('begin again if the server at their end was deleted', async () => {
    let isDeleted = false;
    fake.on((request) => {
      if (!isList(request)) return undefined;
      if (marker(request) === null) return isDeleted ? page(['a', 'c']) : page(['a', 'b'], 'b');
      isDeleted = true;
      return { status: 400, reply: { badRequest: { code: 400, message: 'marker [b] not found' } } };
    });
    expect(await ids()).toEqual(['a', 'c']);
  });

  it('without an end are an error', async () => {
    fake.on((request) => (isList(request) ? page(['a'], 'a') : undefined));
    await expect(ids()).rejects.toMatchObject({ code: 'TOOL_FAILED', message: expect.stringContaining('no end') });
    let count = 0;
    fake.on((request) => (isList(request) ? page([`s${++count}`], `s${count}`) : undefined));
    await expect(ids()).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    expect(count).toBe(200);
  });
});

describe('an unexpected reply', () => {
  it.each([
    ['text', { status: 200, reply: '<html>Welcome</html>' }],
    ['nothing', { status: 200 }],
    ['no list', { status: 200, reply: { servers: {} } }],
    ['a server without an id', listOf({ name: 'a', status: 'ACTIVE', created: '' })],
  ])('%s is an error, and never taken as an empty list', async (_name, reply) => {
    fake.on((request) => (isList(request) ? reply : undefined));
    await expect((await openFake(fake)).servers.list(['t'])).rejects.toMatchObject({
      ...{ code: 'TOOL_FAILED', message: expect.stringContaining('unexpected reply'), hint: expect.any(String) },
    });
  });

  it('that is too large is not read to its end', async () => {
    fake.on((request) => (isList(request) ? { status: 200, reply: 'x'.repeat(33 * 1024 * 1024) } : undefined));
    await expect((await openFake(fake)).servers.list(['t'])).rejects.toMatchObject({
      code: 'TOOL_FAILED',
      message: expect.stringContaining('larger'),
    });
  });

  it('unknown states of servers are kept', async () => {
    fake.on((request) =>
      isList(request) ? listOf(rawServer('a', { status: 'NEW_STATE', 'OS-EXT-STS:task_state': 'new_task' })) : undefined,
    );
    expect(await (await openFake(fake)).servers.list(['t'])).toMatchObject([{ status: 'NEW_STATE', taskState: 'new_task' }]);
  });
});

it('a cloud whose microversions are too old is refused', async () => {
  fake = await replaced(fake, { max: '2.38' });
  await expect((await openFake(fake)).servers.list(['t'])).rejects.toMatchObject({
    code: 'NOT_SUPPORTED',
    message: expect.stringContaining('2.38'),
  });
});

it('the microversion is in every request, and is asked for once', async () => {
  fake = await replaced(fake, { max: '2.60' });
  fake.on((request) => (isList(request) ? listOf() : undefined));
  const cloud = await openFake(fake);
  await Promise.all([cloud.servers.list(['t']), cloud.servers.list(['t'])]);
  expect(fake.received.filter(isList).map(({ headers }) => headers['openstack-api-version'])).toEqual(['compute 2.60', 'compute 2.60']);
  expect(fake.count('GET', /^\/v2.1\/$/)).toBe(1);
});

it('a cloud that cannot be reached is an error with a hint, after some tries', async () => {
  const clock = new FastClock();
  const cloud = await openFake(fake, { clock, variables: { OS_AUTH_URL: 'http://127.0.0.1:1/v3' } });
  await expect(cloud.servers.list(['t'])).rejects.toMatchObject({
    ...{ code: 'CONNECTION_FAILED', message: expect.stringContaining('ECONNREFUSED'), hint: expect.stringContaining('environment') },
  });
  expect(clock.pauses).toHaveLength(7);
});

async function replaced(old: FakeCloud, options: { max?: string; life?: number }): Promise<FakeCloud> {
  await old.stop();
  const other = await FakeCloud.start();
  basics(other, options);
  other.on((request) => (isList(request) ? listOf(rawServer('a')) : undefined));
  return other;
}
