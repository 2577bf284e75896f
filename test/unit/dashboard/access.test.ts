import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { Access } from '../../../src/dashboard/server/access/access.js';
import { securityHeaders } from '../../../src/dashboard/server/access/headers.js';
import { OwnHosts } from '../../../src/dashboard/server/access/hosts.js';
import { Sessions } from '../../../src/dashboard/server/access/sessions.js';
import { OneTimeToken } from '../../../src/dashboard/server/access/tokens.js';

const keys = { secret: Buffer.alloc(32, 7), prefix: 'ab'.repeat(16) };
const base = `/${keys.prefix}/`;
const hour = 3_600_000;

type Given = Partial<Pick<IncomingMessage, 'method' | 'url'>> & { headers?: Record<string, string>; local?: string };

function request({ headers = {}, method = 'GET', url = base, local = '127.0.0.1' }: Given) {
  return {
    headers: { host: '127.0.0.1:7374', ...headers },
    method,
    url,
    socket: { localPort: 7374, localAddress: local },
  } as IncomingMessage;
}

function setUp(address = '127.0.0.1', names: string[] = []) {
  const time = { now: Date.parse('2026-11-26T12:00:00Z') };
  const sessions = new Sessions(keys, { isSecure: false, now: () => time.now });
  const token = new OneTimeToken();
  const access = new Access(new OwnHosts(address, 'http', names), sessions, token);
  const cookie = sessions.cookie().split(';')[0] ?? '';
  return { time, sessions, token, access, cookie };
}

const status = (admission: ReturnType<Access['admit']>): number => ('origin' in admission ? 200 : admission.status);

describe('a session', () => {
  it('is a cookie for the secret path, which scripts and other sites cannot use', () => {
    const { sessions } = setUp();
    expect(sessions.cookie()).toMatch(new RegExp(`^cowherd=[0-9a-f.]+; Path=${base}; Max-Age=43200; HttpOnly; SameSite=Strict$`));
    const secure = new Sessions(keys, { isSecure: true, now: () => 0 });
    expect(secure.cookie()).toMatch(/; Secure$/);
  });

  it('is accepted by another server with the same keys, until it expires', () => {
    const { time, cookie } = setUp();
    const other = new Sessions(keys, { isSecure: false, now: () => time.now });
    expect(other.isValid(`theme=dark; ${cookie}`)).toBe(true);
    time.now += 12 * hour - 1;
    expect(other.isValid(cookie)).toBe(true);
    time.now += 1;
    expect(other.isValid(cookie)).toBe(false);
  });

  it('is refused without the right signature, or for a time that no server gave', () => {
    const { time, sessions, cookie } = setUp();
    const [, id = '', expires = '', mac = ''] = /cowherd=(\w+)\.(\d+)\.(\w+)/.exec(cookie) ?? [];
    expect(sessions.isValid(cookie)).toBe(true);
    for (const forged of [
      undefined,
      'cowherd=',
      `cowherd=${id}.${expires}.`,
      `cowherd=${id}.${expires}.${'0'.repeat(64)}`,
      `cowherd=${id}.${Number(expires) + 1}.${mac}`,
      `cowherd=${'0'.repeat(32)}.${expires}.${mac}`,
      `other=${id}.${expires}.${mac}`,
    ]) {
      expect(sessions.isValid(forged), forged).toBe(false);
    }
    const stranger = new Sessions({ ...keys, secret: Buffer.alloc(32, 8) }, { isSecure: false, now: () => time.now });
    expect(stranger.isValid(cookie)).toBe(false);
    const early = new Sessions(keys, { isSecure: false, now: () => time.now - hour });
    expect(early.isValid(cookie)).toBe(false);
  });
});

describe('a token', () => {
  it('works once', () => {
    const token = new OneTimeToken();
    const first = token.current;
    expect(Buffer.from(first, 'base64url')).toHaveLength(32);
    expect(token.use('')).toBe(false);
    expect(token.use(`${first}x`)).toBe(false);
    expect(token.use(first)).toBe(true);
    expect(token.use(first)).toBe(false);
    expect(token.current).not.toBe(first);
  });

  it('is not used up by a browser that loads pages in advance, or under another name', () => {
    const { access, token } = setUp();
    expect(access.signIn(request({ headers: { 'sec-purpose': 'prefetch;prerender' } }), token.current)).toMatchObject({ status: 403 });
    expect(access.signIn(request({ headers: { host: 'rebound.example:7374' } }), token.current)).toMatchObject({ status: 421 });
    expect(access.signIn(request({ headers: { 'sec-fetch-site': 'cross-site' } }), token.current)).toMatchObject({
      cookie: expect.any(String),
    });
  });
});

describe('a request', () => {
  it.each([
    ['127.0.0.1:7374', 200],
    ['localhost:7374', 200],
    ['LOCALHOST:7374', 200],
    ['127.0.0.1', 421],
    ['127.0.0.1:7375', 421],
    ['rebound.example:7374', 421],
    ['127.0.0.1:7374.example', 421],
    ['user@127.0.0.1:7374', 421],
    ['[::1]:7374', 421],
    ['192.0.2.1:7374', 421],
    ['', 421],
  ])('for the host %s is answered with %i', (host, expected) => {
    const { access, cookie } = setUp();
    expect(status(access.admit(request({ headers: { host, cookie } })))).toBe(expected);
  });

  it('may name another address only if the server listens on it', () => {
    expect(new OwnHosts('::1', 'http').originOf(request({ headers: { host: '[::1]:7374' } }))).toBe('http://[::1]:7374');
    const named = new OwnHosts('lab.example.com', 'https');
    expect(named.originOf(request({ headers: { host: 'lab.example.com:7374' } }))).toBe('https://lab.example.com:7374');
    expect(named.originOf(request({ headers: { host: 'localhost:7374' } }))).toBeUndefined();
    const all = new OwnHosts('0.0.0.0', 'https', ['lab']);
    expect(all.originOf(request({ headers: { host: 'lab:7374' } }))).toBeDefined();
    expect(all.originOf(request({ headers: { host: '192.0.2.1:7374' }, local: '::ffff:192.0.2.1' }))).toBeDefined();
    expect(all.originOf(request({ headers: { host: '192.0.2.2:7374' }, local: '192.0.2.1' }))).toBeUndefined();
    expect(all.originOf(request({ headers: { host: 'rebound.example:7374' }, local: '192.0.2.1' }))).toBeUndefined();
  });

  it('outside of the secret path is not found, with any cookie', () => {
    const { access, cookie } = setUp();
    for (const url of ['/', '/api/stream', `/${'cd'.repeat(16)}/`, `/${keys.prefix}`, undefined]) {
      expect(status(access.admit({ ...request({ headers: { cookie } }), url: url ?? '' })), url).toBe(404);
    }
  });

  it('from another site is refused, also from another port of this host', () => {
    const { access, cookie } = setUp();
    const asked = (headers: Record<string, string>, method = 'GET', isSocket = false): number =>
      status(access.admit(request({ headers: { cookie, ...headers }, method }), { isSocket }));
    expect(asked({ 'sec-fetch-site': 'none' })).toBe(200);
    expect(asked({ 'sec-fetch-site': 'same-origin' })).toBe(200);
    expect(asked({ 'sec-fetch-site': 'same-site' })).toBe(403);
    expect(asked({ 'sec-fetch-site': 'cross-site' })).toBe(403);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD']) {
      expect(asked({}, method), method).toBe(403);
      expect(asked({ origin: 'null' }, method), method).toBe(403);
      expect(asked({ origin: 'http://127.0.0.1:8000' }, method), method).toBe(403);
      expect(asked({ origin: 'https://127.0.0.1:7374' }, method), method).toBe(403);
      expect(asked({ origin: 'http://localhost:7374' }, method), method).toBe(403);
      expect(asked({ origin: 'http://127.0.0.1:7374' }, method), method).toBe(200);
    }
    expect(asked({}, 'GET', true)).toBe(403);
    expect(asked({ origin: 'http://evil.example' }, 'GET', true)).toBe(403);
    expect(asked({ origin: 'http://127.0.0.1:7374' }, 'GET', true)).toBe(200);
  });

  it('without a session is refused', () => {
    expect(status(setUp().access.admit(request({})))).toBe(401);
  });
});

it('the policy of a page allows nothing from elsewhere', () => {
  const { 'Content-Security-Policy': policy = '' } = securityHeaders('http://127.0.0.1:7374', 'abc');
  expect(policy.split('; ')).toEqual([
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'nonce-abc'",
    "img-src 'self' blob: data:",
    "font-src 'self'",
    "connect-src 'self' ws://127.0.0.1:7374",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ]);
});
