import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { messageOf } from '../../../../src/engines/nova/core/api-error.js';
import { type Catalog, computeRoot, endpointOf, imageRoot, networkRoot } from '../../../../src/engines/nova/core/catalog.js';
import { usableMs } from '../../../../src/engines/nova/core/login.js';
import { fleetTag, markOf, memberTag, metadataOf, tagsOf } from '../../../../src/engines/nova/core/member-tags.js';
import { negotiateMicroversion } from '../../../../src/engines/nova/core/microversion.js';
import { encoded, type NewServer, newServerBody } from '../../../../src/engines/nova/core/new-server.js';
import { nextQuery } from '../../../../src/engines/nova/core/pages.js';
import { type Attempt, afterAttempt, retryAfterMs, retryLimits } from '../../../../src/engines/nova/core/retry.js';
import { serverSchema } from '../../../../src/engines/nova/core/servers.js';
import type { CloudSettings } from '../../../../src/engines/nova/core/settings.js';

const settings = { title: 'cloud lab', source: 'clouds.yaml', interface: 'public', endpoints: {} } as CloudSettings;

describe('repetition', () => {
  const first = { number: 1, elapsedMs: 0, now: 0 };
  const reply = (status: number, retryAfter?: string): Attempt => ({ kind: 'reply', status, retryAfter });

  it('repeats what changes nothing after a lost connection, and never what creates', () => {
    expect(afterAttempt({ kind: 'lost' }, { ...first, repetition: 'safe' })).toEqual({ repeat: true, pauseMs: retryLimits.firstPauseMs });
    expect(afterAttempt({ kind: 'lost' }, { ...first, repetition: 'unsafe' })).toEqual({ repeat: false, why: 'final' });
    for (const status of [500, 502, 503, 504]) {
      expect(afterAttempt(reply(status), { ...first, repetition: 'safe' }).repeat).toBe(true);
      expect(afterAttempt(reply(status), { ...first, repetition: 'unsafe' }).repeat).toBe(false);
    }
  });

  it('repeats anything that was not sent, or was refused as too much', () => {
    for (const attempt of [{ kind: 'not-sent' } as const, reply(429)]) {
      expect(afterAttempt(attempt, { ...first, repetition: 'unsafe' }).repeat).toBe(true);
    }
  });

  it('waits as long as Retry-After says, and gives up if that is too long', () => {
    expect(afterAttempt(reply(429, '7'), { ...first, repetition: 'unsafe' })).toEqual({ repeat: true, pauseMs: 7_000 });
    expect(afterAttempt(reply(503, '3600'), { ...first, repetition: 'safe' })).toEqual({ repeat: false, why: 'limit' });
    expect(afterAttempt(reply(503, '0'), { ...first, repetition: 'safe' })).toEqual({ repeat: true, pauseMs: retryLimits.firstPauseMs });
  });

  it.each([
    ['5', 5_000],
    ['Thu, 01 Jan 1970 00:00:10 GMT', 10_000],
    ['Thu, 01 Jan 1960 00:00:00 GMT', 0],
    ['soon', undefined],
    ['-1', undefined],
    [undefined, undefined],
  ])('reads the Retry-After %s', (text, ms) => expect(retryAfterMs(text, 0)).toBe(ms));

  it('ends, within the limits of count and time', () => {
    const status = fc.constantFrom(429, 500, 502, 503, 504, 200, 404);
    const header = fc.oneof(fc.constant(undefined), fc.nat({ max: 1000 }).map(String), fc.string());
    fc.assert(
      fc.property(fc.infiniteStream(fc.tuple(status, header)), fc.constantFrom('safe', 'unsafe'), (replies, repetition) => {
        let elapsedMs = 0;
        for (let number = 1; ; number++) {
          const [code, retryAfter] = replies.next().value;
          const decision = afterAttempt(reply(code, retryAfter), { number, elapsedMs, now: 0, repetition });
          if (!decision.repeat) return number <= retryLimits.attempts;
          if (decision.pauseMs < retryLimits.firstPauseMs) return false;
          elapsedMs += decision.pauseMs;
          if (elapsedMs > retryLimits.totalMs) return false;
        }
      }),
    );
  });
});

describe('microversions', () => {
  it.each([
    ['2.1', '2.93', '2.90'],
    ['2.1', '2.90', '2.90'],
    ['2.1', '2.52', '2.52'],
    ['2.1', '2.60', '2.60'],
    ['2.1', '2.100', '2.90'],
  ])('%s to %s: uses %s', (min, max, used) => expect(negotiateMicroversion({ min, max })).toBe(used));

  it.each([
    ['2.1', '2.51'],
    ['2.1', '2.9'],
    ['', ''],
    ['2.95', '2.99'],
  ])('%s to %s: refuses', (min, max) => {
    expect(() => negotiateMicroversion({ min, max })).toThrow(expect.objectContaining({ code: 'NOT_SUPPORTED', hint: expect.any(String) }));
  });
});

describe('the service catalog', () => {
  const entry = (where: string, region: string, url: string): Catalog[number]['endpoints'][number] => ({
    interface: where,
    region_id: region,
    url,
  });
  const catalog: Catalog = [
    {
      type: 'compute',
      endpoints: [
        entry('public', 'A', 'https://a/v2.1/'),
        entry('public', 'B', 'https://b/v2.1'),
        entry('internal', 'A', 'http://in/v2.1'),
      ],
    },
    { type: 'image', endpoints: [entry('public', 'A', 'https://image')] },
  ];

  it('gives the URL of region and interface', () => {
    expect(endpointOf(catalog, 'compute', { ...settings, region: 'A' })).toBe('https://a/v2.1');
    expect(endpointOf(catalog, 'compute', { ...settings, region: 'A', interface: 'internal' })).toBe('http://in/v2.1');
    expect(endpointOf(catalog, 'compute', { ...settings, endpoints: { compute: 'https://other' } })).toBe('https://other');
    expect(endpointOf(catalog, 'image', settings)).toBe('https://image');
  });

  it('names the regions if none is chosen, or an unknown one', () => {
    for (const region of [undefined, 'C']) {
      const run = (): string => endpointOf(catalog, 'compute', region === undefined ? settings : { ...settings, region });
      expect(run).toThrow(expect.objectContaining({ code: 'BAD_USAGE', hint: expect.stringContaining('A, B') }));
    }
  });

  it('names other interfaces, and says if a service is missing', () => {
    expect(() => endpointOf(catalog, 'image', { ...settings, interface: 'admin' })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('public') }),
    );
    expect(() => endpointOf(catalog, 'network', settings)).toThrow(expect.objectContaining({ code: 'NOT_SUPPORTED' }));
  });

  it.each([
    [computeRoot('https://n/v2.1'), 'https://n/v2.1'],
    [computeRoot('https://n/v2.1/0123'), 'https://n/v2.1'],
    [computeRoot('https://n/compute/v2.1/AUTH_0123'), 'https://n/compute/v2.1'],
    [computeRoot('https://n/compute'), 'https://n/compute'],
    [imageRoot('https://g'), 'https://g/v2'],
    [imageRoot('https://g/v2'), 'https://g/v2'],
    [networkRoot('https://q/v2.0'), 'https://q/v2.0'],
    [networkRoot('https://q/networking'), 'https://q/networking/v2.0'],
  ])('%s', (found, wanted) => expect(found).toBe(wanted));
});

it('only the query of a link to the next page is used', () => {
  expect(nextQuery({ servers_links: [{ rel: 'next', href: 'http://evil/servers?limit=1&marker=a' }] }, 'servers')?.get('marker')).toBe('a');
  expect(nextQuery({ next: '/v2/images?marker=b' }, 'images')?.get('marker')).toBe('b');
  for (const body of [{}, null, [], { servers_links: 'x' }, { servers_links: [null] }, { next: 5 }, { next: '/v2/images' }]) {
    expect(nextQuery(body, 'servers')).toBeUndefined();
  }
});

it.each([
  ['{"itemNotFound": {"code": 404, "message": "Instance x could not be found."}}', 'Instance x could not be found.'],
  ['{"message": "Not found<br /><br />\\n\\n\\n", "code": "404", "title": "Not Found"}', 'Not found'],
  ['{"NeutronError": {"type": "NotFound", "message": "no /v2.0/x", "detail": ""}}', 'no /v2.0/x'],
  ['<html><head><title>502 Bad Gateway</title><style>b{}</style></head><body><h1>502 Bad Gateway</h1></body></html>', '502 Bad Gateway'],
  ['', ''],
  ['null', ''],
  ['[]', ''],
])('reads the message of %s', (body, message) => expect(messageOf(body)).toBe(message));

it('reads any error reply as one line that is safe to show', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (body) => !/[\p{Cc}]/u.test(messageOf(body)) && messageOf(body).length <= 300));
});

it('a token is renewed before it expires, whatever the clock of the cloud says', () => {
  expect(usableMs('2026-01-01T00:00:00Z', '2026-01-01T01:00:00Z')).toBe(3_540_000);
  expect(usableMs('2026-01-01T00:00:00Z', '2026-01-01T00:01:00Z')).toBe(30_000);
  expect(usableMs('?', '2026-01-01T00:01:00Z')).toBe(0);
});

describe('the tags of a member', () => {
  const mark = fc.record({
    fleet: fc.string({ minLength: 1, maxLength: 255, unit: 'grapheme' }),
    fleetId: fc.string({ minLength: 1, maxLength: 64 }),
    index: fc.integer({ min: 1, max: 999_999_999 }),
    digest: fc.stringMatching(/^[0-9a-f]{64}$/),
  });

  it('are read again as they were written, and are valid for OpenStack', () => {
    fc.assert(
      fc.property(mark, (one) => {
        const tags = tagsOf(one);
        expect(markOf({ tags, metadata: metadataOf(one) })).toEqual(one);
        expect(tags.every((tag) => tag.length <= 60 && !/[,/]/.test(tag))).toBe(true);
        expect(new Set(tags).size).toBe(3);
      }),
    );
  });

  it('and the metadata must agree', () => {
    const one = { fleet: 'lab', fleetId: 'f1', index: 1, digest: 'd' };
    const metadata = metadataOf(one);
    expect(markOf({ tags: tagsOf(one), metadata: { ...metadata, 'cowherd:index': '2' } })).toBeUndefined();
    expect(markOf({ tags: [fleetTag('lab')], metadata })).toBeUndefined();
    expect(markOf({ tags: tagsOf(one), metadata: {} })).toBeUndefined();
    expect(memberTag('f1', 1)).not.toBe(memberTag('f2', 1));
  });
});

describe('a new server', () => {
  const server: NewServer = {
    ...{ name: 'lab-1', imageId: 'i', flavorId: 'f', networks: ['n'], tags: ['t'], uniqueTag: 't', metadata: {} },
    ...{ keyName: 'k', zone: 'z', securityGroups: ['s'], userData: 'ü' },
  };

  it('has the names of the API', () => {
    expect(newServerBody(server)).toEqual({
      server: {
        ...{ name: 'lab-1', imageRef: 'i', flavorRef: 'f', networks: [{ uuid: 'n' }], key_name: 'k', availability_zone: 'z' },
        ...{ security_groups: [{ name: 's' }], user_data: Buffer.from('ü').toString('base64'), tags: ['t'], metadata: {} },
      },
    });
    expect(newServerBody({ ...server, networks: 'none' })).toMatchObject({ server: { networks: 'none' } });
  });

  it.each([
    [{ tags: ['t', 'a,b'] }],
    [{ tags: ['t', 'a/b'] }],
    [{ tags: ['t', 'x'.repeat(61)] }],
    [{ tags: ['t', 't'] }],
    [{ tags: ['t', ...Array.from({ length: 50 }, String)] }],
    [{ metadata: { key: 'x'.repeat(256) } }],
    [{ userData: 'x'.repeat(50_000) }],
  ])('is refused if the API would refuse it: %j', (change) => {
    expect(() => newServerBody({ ...server, ...change })).toThrow(expect.objectContaining({ code: 'BAD_SPEC', hint: expect.any(String) }));
  });

  it('user-data may be as large as the API allows', () => expect(encoded('x'.repeat(49_149)).length).toBe(65_532));
});

it('a server of a cell that does not answer is read', () => {
  const partial = { id: 'a', status: 'UNKNOWN', created: '2026-01-01T00:00:00Z', tenant_id: 'p', links: [] };
  expect(serverSchema.parse(partial)).toMatchObject({
    id: 'a',
    name: '',
    status: 'UNKNOWN',
    taskState: null,
    imageId: undefined,
    tags: [],
  });
});

it('a server of a volume, and addresses, are read', () => {
  const addresses = {
    private: [
      { addr: '10.0.0.5', version: 4, 'OS-EXT-IPS:type': 'fixed', 'OS-EXT-IPS-MAC:mac_addr': 'fa:16' },
      { addr: '192.0.2.7', version: 4, 'OS-EXT-IPS:type': 'floating' },
    ],
  };
  const server = serverSchema.parse({ id: 'a', name: 'a', status: 'ACTIVE', created: '2026', image: '', addresses });
  expect(server.imageId).toBeUndefined();
  expect(server.addresses.map(({ kind, address }) => `${kind} ${address}`)).toEqual(['fixed 10.0.0.5', 'floating 192.0.2.7']);
});
