import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { reportOf } from '../../../../src/core/errors.js';
import type { RequestEvent } from '../../../../src/engines/nova/http/retrier.js';
import { FakeCloud, type FaultKind } from '../../../fakes/openstack/fake-cloud.js';
import { basics, openFake, rawServer } from '../../../fakes/openstack/open-fake.js';

const password = 'correct-horse';
const token = 'token-of-the-fake-1';

let fake: FakeCloud;
beforeEach(async () => {
  fake = await FakeCloud.start();
  basics(fake);
  fake.on(({ path }) => (path.startsWith('/v2.1/servers/detail') ? { status: 200, reply: { servers: [rawServer('a')] } } : undefined));
});
afterEach(() => fake.stop());

function everything(value: unknown): string {
  return `${inspect(value, { depth: 30, showHidden: true, getters: true, breakLength: Infinity })} ${JSON.stringify(value)} ${String(value)}`;
}

it('a cloud in use can be printed', async () => {
  const events: RequestEvent[] = [];
  const cloud = await openFake(fake, { onRequest: (event) => events.push(event) });
  await cloud.servers.list(['t']);
  expect(fake.received.some((request) => request.token === token)).toBe(true);
  for (const printed of [cloud, cloud.servers, events, cloud.counts]) {
    expect(everything(printed)).not.toContain(password);
    expect(everything(printed)).not.toContain(token);
  }
  expect(events.map(({ route, result }) => `${route} ${result}`)).toEqual([
    'POST /auth/tokens 201',
    'GET / 200',
    'GET /servers/detail 200',
  ]);
});

const echo = { message: `you sent ${token} and ${password}` };
it.each<[string, FaultKind]>([
  ['an error reply that repeats them', { status: 400, reply: { badRequest: echo } }],
  ['a page that repeats them', { status: 400, reply: `<html><body>X-Auth-Token: ${token} ${password}</body></html>` }],
  ['a refused token', { status: 401, reply: { error: echo } }],
  ['no reply', 'silence'],
  ['lost replies', 'lost'],
  ['an unexpected reply', { status: 200, reply: { servers: echo } }],
])('%s: the error has no secrets', async (_name, kind) => {
  fake.fail(({ path }) => path.startsWith('/v2.1/servers'), kind, 100);
  const cloud = await openFake(fake, { timeoutMs: 50 });
  const error: unknown = await cloud.servers.list(['t']).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ hint: expect.any(String) });
  for (const text of [everything(error), JSON.stringify(reportOf(error))]) {
    expect(text).not.toContain(password);
    expect(text).not.toContain('token-of-the-fake');
  }
});

it.each<[string, FaultKind]>([
  ['401', { status: 401, reply: { error: echo } }],
  ['403', { status: 403, reply: { error: echo } }],
  ['404', { status: 404, reply: '<html>' }],
  ['500', { status: 500, reply: { error: echo } }],
  ['text', { status: 201, reply: password }],
  ['lost', 'lost'],
])('a login that ends with %s has no secrets in its error', async (_name, kind) => {
  fake.fail(({ service }) => service === 'identity', kind, 100);
  const error: unknown = await (await openFake(fake)).servers.list(['t']).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ message: expect.stringContaining('log in to the cloud of the OS_* variables'), hint: expect.any(String) });
  expect(everything(error)).not.toContain(password);
});

it.each(['quo"te\\back', "pässwörd'&1", 'a<b>"c', 'tab\there'])(
  'a password that is written in another way in a reply: %j',
  async (special) => {
    const quoted = JSON.stringify({ sent: special });
    const inAscii = (text: string): string =>
      text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
    const inHtml = special.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
    const texts = [
      ...[special, quoted].map((message) => JSON.stringify({ badRequest: { message } })),
      inAscii(JSON.stringify({ badRequest: { message: special } })),
      ...[special, quoted, inHtml].map((text) => `<html><body>${text}</body></html>`),
    ];
    const seen = (text: string): boolean =>
      [special, special.slice(2), JSON.stringify(special).slice(1, -1)].some((part) => text.includes(part));
    for (const reply of texts) {
      fake.fail(({ path }) => path.startsWith('/v2.1/servers'), { status: 400, reply }, 1);
      const cloud = await openFake(fake, { variables: { OS_PASSWORD: special } });
      const error = reportOf(await cloud.servers.list(['t']).catch((reason: unknown) => reason));
      expect(error.message).toContain('***');
      expect(seen(error.message), error.message).toBe(false);
    }
  },
);

it('user-data is not repeated, although the cloud quotes what it refuses', async () => {
  const userData = '#cloud-config\npassword: very-secret\n';
  const quoted = Buffer.from(userData).toString('base64');
  const message = `Invalid input for field/attribute user_data. Value: ${quoted}. It is refused`;
  fake.on(({ method, service }) =>
    method === 'POST' && service === 'compute' ? { status: 400, reply: { badRequest: { message } } } : undefined,
  );
  const { servers } = await openFake(fake);
  const server = { name: 'a', imageId: 'i', flavorId: 'f', networks: 'none', tags: ['t'], uniqueTag: 't', metadata: {}, userData } as const;
  const rebuild = { kind: 'rebuild', imageId: 'i', endsIn: 'ACTIVE' } as const;
  for (const call of [() => servers.create(server), () => servers.rebuild({ id: 'a', name: 'a' }, rebuild, { userData })]) {
    const error: unknown = await (call() as Promise<unknown>).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ message: expect.stringContaining('Value: ***. It is refused') });
    expect(everything(error)).not.toContain(quoted);
  }
});

it('a token is sent to the own cloud only', async () => {
  const other = await FakeCloud.start();
  fake.on(({ path }) =>
    path.startsWith('/v2.1/servers/detail')
      ? {
          status: 200,
          reply: path.includes('marker')
            ? { servers: [] }
            : { servers: [rawServer('a')], servers_links: [{ rel: 'next', href: `${other.urlOf('compute')}/v2.1/servers?marker=a` }] },
        }
      : undefined,
  );
  await (await openFake(fake)).servers.list(['t']);
  fake.fail(({ path }) => path.includes('detail'), { status: 302, headers: { location: `${other.urlOf('compute')}/v2.1/servers` } });
  await expect((await openFake(fake)).servers.list(['t'])).rejects.toMatchObject({ status: 302 });
  expect(other.received).toEqual([]);
  await other.stop();
});
