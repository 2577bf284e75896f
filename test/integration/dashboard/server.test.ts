import { createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CowherdError } from '../../../src/core/errors.js';
import { type Dashboard, type DashboardOptions, serveDashboard } from '../../../src/dashboard/server/serve.js';
import type { Host } from '../../../src/host.js';
import { FakeDashboardHost } from '../../fakes/dashboard-host.js';
import { DashboardClient } from '../../support/dashboard-client.js';

/** The real server and real connections, without libvirt. */

const soon = <T>(check: () => T | Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 20_000, interval: 20 });

const fake = new FakeDashboardHost();
const urls: string[] = [];
const open: Dashboard[] = [];

async function serve(more: Partial<DashboardOptions> = {}): Promise<Dashboard> {
  const dashboard = await serveDashboard({
    host: fake.host,
    open: async () => fake.host,
    version: '0.0.0',
    isReadOnly: false,
    listen: { address: '127.0.0.1' },
    withFlags: (text) => text.replaceAll('cowherd ', 'cowherd --store /s '),
    withFlagsIn: (document) => document,
    onUrl: (url) => urls.push(url),
    signal: new AbortController().signal,
    ...more,
  });
  open.push(dashboard);
  return dashboard;
}

async function signedIn(more: Partial<DashboardOptions> = {}): Promise<DashboardClient> {
  const client = new DashboardClient((await serve(more)).url);
  await client.signIn();
  return client;
}

afterEach(async () => {
  for (const dashboard of open.splice(0)) await dashboard.close();
  urls.length = 0;
  fake.consoles.length = 0;
});

const request = { verb: 'reset', fleet: 'lab', members: [1] };

describe('the server', () => {
  it('signs in one browser per URL', async () => {
    const client = new DashboardClient((await serve()).url);
    const first = await client.signIn();
    expect(first.status).toBe(303);
    expect(first.headers['set-cookie']?.[0]).toMatch(/^cowherd=.*; Path=\/(ab){16}\/; Max-Age=43200; HttpOnly; SameSite=Strict$/);
    expect(first.headers.location).toBe(`/${'ab'.repeat(16)}/`);
    expect((await new DashboardClient(client.url).signIn()).status).toBe(403);
    expect(urls).toHaveLength(1);
    expect((await new DashboardClient(urls[0] ?? '').signIn()).status).toBe(303);
    expect((await client.get('')).status).toBe(200);
  });

  it('leads a browser that comes from another site to the page without a redirect, which would lose the cookie', async () => {
    const { url, origin } = new DashboardClient((await serve()).url);
    const answer = await new DashboardClient(url).send('GET', url.slice(origin.length), { 'Sec-Fetch-Site': 'cross-site' });
    expect(answer).toMatchObject({ status: 200, text: expect.stringContaining(`content="0;url=/${'ab'.repeat(16)}/"`) });
  });

  it('serves the page with a policy that names its nonce', async () => {
    const client = await signedIn();
    const [one, other] = [await client.get(''), await client.get('index.html')];
    const [, nonce = ''] = /<meta name="csp-nonce" content="([^"]+)"/.exec(one.text) ?? [];
    expect(one.headers['content-security-policy']).toContain(`style-src 'self' 'nonce-${nonce}';`);
    expect(one.headers).toMatchObject({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    });
    expect(other.text).not.toContain(nonce);
    expect((await client.get('assets/index-abc.js')).headers).toMatchObject({
      'cache-control': 'private, max-age=31536000, immutable',
      'content-type': 'text/javascript; charset=utf-8',
    });
    for (const path of ['assets/', '../../etc/passwd', '%2e%2e/package.json', 'assets/index-abc.js%00']) {
      expect((await client.get(path)).status, path).toBe(404);
    }
  });

  it('answers nothing without a session, and says to the page why', async () => {
    const client = await signedIn();
    expect((await client.get('', { Cookie: '' })).status).toBe(401);
    expect(await client.get('api/stream', { Cookie: '' })).toMatchObject({ status: 401, json: { error: { code: 'NO_SESSION' } } });
    expect(await client.post('api/jobs', request, { Cookie: `${client.cookie}0` })).toMatchObject({ status: 401 });
    expect((await client.send('GET', '/')).status).toBe(404);
    expect((await client.send('GET', `/${'cd'.repeat(16)}/`, { Cookie: client.cookie })).status).toBe(404);
  });

  it('refuses requests under another name, and from other sites', async () => {
    const client = await signedIn();
    expect((await client.get('', { Host: 'rebound.example' })).status).toBe(421);
    expect((await client.get('', { 'Sec-Fetch-Site': 'same-site' })).status).toBe(403);
    expect(await client.post('api/jobs', request, { Origin: 'http://127.0.0.1:1' })).toMatchObject({
      status: 403,
      json: { error: { code: 'CROSS_SITE' } },
    });
    const socket = client.socket('api/fleets/lab/members/1/console', { Origin: 'http://evil.example' });
    await soon(() => expect(socket.refused).toBe(403));
    expect(fake.consoles).toHaveLength(0);
  });

  it('refuses bodies that are too large, not JSON or invalid', async () => {
    const client = await signedIn();
    expect((await client.post('api/plans', `"${'x'.repeat(65 * 1024)}"`)).status).toBe(413);
    expect((await client.post('api/plans', '{')).status).toBe(400);
    expect((await client.post('api/plans', request, { 'Content-Type': 'text/plain' })).status).toBe(400);
    expect((await client.post('api/plans', { ...request, members: [] })).status).toBe(400);
    expect((await client.get('api/fleets/..%2fx/members/1')).status).toBe(404);
    expect((await client.get('api/fleets/lab/members/7')).status).toBe(404);
    expect((await client.get('api/fleets/lab/members/1e3')).status).toBe(404);
  });

  it('takes no content of a guest for a page', async () => {
    expect(await (await signedIn()).get('api/fleets/lab/members/1/screenshot')).toMatchObject({ status: 502, json: { error: {} } });
  });

  it('accepts sessions of an earlier server with the same keys, and only those', async () => {
    const client = await signedIn();
    const again = new DashboardClient((await serve({ listen: { address: '127.0.0.1', port: undefined } })).url);
    Object.assign(again, { cookie: client.cookie, base: client.base });
    expect((await again.get('')).status).toBe(200);
    fake.keys = { ...fake.keys, secret: Buffer.alloc(32, 2) };
    const other = new DashboardClient((await serve()).url);
    Object.assign(other, { cookie: client.cookie, base: client.base });
    expect((await other.get('')).status).toBe(401);
  });
});

describe('its address', () => {
  it('is a free port if the default is in use, but never another one than the given', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as { port: number };
    await expect(serve({ listen: { address: '127.0.0.1', port } })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      hint: expect.stringContaining('--port'),
    });
    taken.close();
    const [one, other] = [await serve(), await serve()];
    expect(new URL(one.url).port).not.toBe(new URL(other.url).port);
  });

  it.each(['0.0.0.0', '::', '192.0.2.1', 'lab.example.com', 'localhost.example.com'])('needs TLS for %s', async (address) => {
    await expect(serve({ listen: { address, port: 7999 } })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      hint: expect.stringContaining('--tls-cert'),
    });
  });

  it('needs a page that was built', async () => {
    const { page } = fake;
    fake.page = new Map();
    await expect(serve()).rejects.toMatchObject({ code: 'FILE_NOT_FOUND', hint: expect.stringContaining('npm run build') });
    fake.page = page;
  });

  it('needs a certificate and a key that can be used', async () => {
    const tls = { cert: Buffer.from('x'), key: Buffer.from('y') };
    await expect(serve({ listen: { address: '127.0.0.1', tls } })).rejects.toMatchObject({ code: 'BAD_USAGE' });
  });
});

describe('the stream', () => {
  it('begins with the state, and replays what a page has missed', async () => {
    const client = await signedIn({ open: () => Promise.reject(new CowherdError('LOCKED', 'Fleet lab is locked')) });
    const first = client.stream();
    await soon(() => expect(first.view).toMatchObject({ about: { user: 'tester', isReadOnly: false }, fleets: [], jobs: [] }));
    expect(await client.post('api/jobs', request)).toMatchObject({ status: 202, json: { state: 'running', request } });
    await soon(() => expect(first.find(({ jobs }) => jobs?.[0])).toMatchObject({ state: 'failed', error: { code: 'LOCKED' } }));
    const again = client.stream(first.view === undefined ? '' : first.lastId.replace(/\d+$/, '0'));
    await soon(() => expect(again.changes).toEqual(first.changes));
    expect(again.view).toBeUndefined();
    const unknown = client.stream('0123456789ab-1');
    await soon(() => expect(unknown.view?.jobs).toMatchObject([{ state: 'failed' }]));
    for (const stream of [first, again, unknown]) stream.close();
  });

  it('is for a bounded number of pages', async () => {
    const client = await signedIn();
    const streams = Array.from({ length: 16 }, () => client.stream());
    await soon(() => expect(streams.every(({ view }) => view !== undefined)).toBe(true));
    expect((await client.get('api/stream')).status).toBe(503);
    streams[0]?.close();
    await soon(async () => {
      const another = client.stream();
      await soon(() => expect(another.status).not.toBe(0));
      another.close();
      expect(another.status).toBe(200);
    });
    for (const stream of streams) stream.close();
  });
});

describe('actions', () => {
  /** Ends when it is cancelled. */
  const hanging = ({ signal }: { signal?: AbortSignal | undefined }): Promise<Host> =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new CowherdError('INTERRUPTED', 'Interrupted'))));

  it('are bounded, can be cancelled, and end with the server', async () => {
    const client = await signedIn({ open: hanging });
    const stream = client.stream();
    await soon(() => expect(stream.view).toBeDefined());
    const ids: string[] = [];
    for (let count = 0; count < 8; count++) ids.push((await client.post('api/jobs', request)).json.id);
    expect(await client.post('api/jobs', request)).toMatchObject({ status: 429, json: { error: { code: 'TOO_MANY_JOBS' } } });
    expect((await client.post(`api/jobs/${ids[0]}/cancel`, {})).status).toBe(204);
    await soon(() => expect(stream.find(({ jobs }) => jobs?.find(({ id }) => id === ids[0]))).toMatchObject({ state: 'interrupted' }));
    expect((await client.post('api/jobs/unknown/cancel', {})).status).toBe(404);
    expect(open[0]?.running).toBe(7);
    await open[0]?.close();
    expect(open[0]?.running).toBe(0);
    stream.close();
  });

  it('are kept for a while after their end', async () => {
    const client = await signedIn({ open: () => Promise.reject(new CowherdError('LOCKED', 'Fleet lab is locked')) });
    for (let count = 0; count < 25; count++) {
      await client.post('api/jobs', request);
      await soon(() => expect(open[0]?.running).toBe(0));
    }
    const stream = client.stream();
    await soon(() => expect(stream.view?.jobs).toHaveLength(20));
    stream.close();
  });

  it('are refused in read-only mode', async () => {
    const client = await signedIn({ isReadOnly: true });
    for (const path of ['api/plans', 'api/jobs', 'api/jobs/x/cancel']) {
      expect(await client.post(path, request), path).toMatchObject({ status: 403, json: { error: { code: 'READ_ONLY' } } });
    }
    for (const path of ['console?force=1', 'vnc']) {
      const socket = client.socket(`api/fleets/lab/members/1/${path}`);
      await soon(() => expect(socket.refused, path).toBe(403));
    }
    const socket = client.socket('api/fleets/lab/members/1/console');
    await soon(() => expect(fake.consoles).toHaveLength(1));
    socket.socket.send(Buffer.from('typed'));
    fake.consoles[0]?.output.write('Escape character is ^]\r\nshown');
    await soon(() => expect(socket.text).toBe('shown'));
    expect(fake.consoles[0]?.input.read()).toBeNull();
    socket.socket.close();
  });
});

describe('a console', () => {
  it('passes bytes on, without the escape character and without the words of virsh', async () => {
    const client = await signedIn();
    const busy = client.socket('api/fleets/lab/members/2/console?force=1');
    const shown = client.socket('api/fleets/lab/members/1/console');
    await soon(() => expect(fake.consoles).toHaveLength(2));
    const [console1, console2] = [...fake.consoles].sort((a, b) => a.domain.localeCompare(b.domain));
    expect([console1?.domain, console1?.force, console2?.domain, console2?.force]).toEqual(['lab-001', false, 'lab-002', true]);
    console1?.output.write("Connected to domain 'lab-001'\r\nEscape char");
    console1?.output.write('acter is ^] (Ctrl + ])\r\n\u001b[1mlogin:\u00ff');
    await soon(() => expect(shown.text).toContain('login:'));
    expect(shown.text).toBe(Buffer.from('\u001b[1mlogin:\u00ff').toString('latin1'));
    shown.socket.send(Buffer.from([0x72, 0x1d, 0x00, 0xff]));
    await soon(() => expect(console1?.input.read()).toEqual(Buffer.from([0x72, 0x00, 0xff])));
    shown.socket.close();
    await soon(() => expect(console1?.isClosed).toBe(true));
    console2?.output.write('Escape character is ^]\r\nerror: operation failed: Active console session exists for this domain\r\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    console2?.end();
    await soon(() => expect(busy.closed).toEqual({ code: 4000, reason: expect.stringContaining('in use by another user') }));
  });

  it('says why it was not opened', async () => {
    const client = await signedIn();
    const socket = client.socket('api/fleets/lab/members/1/console');
    await soon(() => expect(fake.consoles).toHaveLength(1));
    fake.consoles[0]?.output.write('error: failed to get domain\u001b[2J\r\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    fake.consoles[0]?.end();
    await soon(() =>
      expect(socket.closed).toEqual({
        code: 4000,
        reason: expect.stringMatching(/^The console could not be opened: failed to get domain\?/),
      }),
    );
    const missing = client.socket('api/fleets/lab/members/9/console');
    await soon(() => expect(missing.closed).toEqual({ code: 4000, reason: 'Fleet lab has no member 9' }));
    const screen = client.socket('api/fleets/lab/members/1/vnc');
    await soon(() => expect(screen.closed?.reason).toBe('lab-001 has no VNC screen'));
  });

  it('makes the guest wait for a page that does not read, and holds no more than a few megabytes', async () => {
    const client = await signedIn();
    const { socket } = client.socket('api/fleets/lab/members/1/console');
    await soon(() => expect(fake.consoles).toHaveLength(1));
    socket.pause();
    const { output } = fake.consoles[0] ?? { output: undefined };
    output?.write('Escape character is ^]\r\n');
    let isFull = false;
    for (let count = 0; count < 4096 && !isFull; count++) {
      output?.write(Buffer.alloc(64 * 1024));
      await new Promise((resolve) => setImmediate(resolve));
      isFull = output?.isPaused() === true;
    }
    expect(isFull).toBe(true);
    socket.resume();
    await soon(() => expect(output?.isPaused()).toBe(false));
    socket.terminate();
    await soon(() => expect(fake.consoles[0]?.isClosed).toBe(true));
  });

  it('is one of a bounded number', async () => {
    const client = await signedIn();
    const sockets = Array.from({ length: 16 }, () => client.socket('api/fleets/lab/members/1/console'));
    await soon(() => expect(sockets.every(({ isOpen }) => isOpen)).toBe(true));
    const another = client.socket('api/fleets/lab/members/1/console');
    await soon(() => expect(another.refused).toBe(503));
    for (const { socket } of sockets) socket.close();
  });
});
