import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { DashboardClient } from '../../support/dashboard-client.js';
import { DashboardServer, resetRequest, soon } from '../../support/dashboard-server.js';

const { fake, urls, serve, signedIn } = DashboardServer.use();
const request = resetRequest;

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
