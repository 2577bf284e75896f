import { describe, expect, it } from 'vitest';
import { guestText } from '../../../../src/core/guest/text.js';
import { guestIpv4 } from '../../../../src/core/guest/values.js';
import { addressOf, isUp } from '../../../../src/engines/nova/core/addresses.js';
import { isLeftover, problemsOf, promotedFrom } from '../../../../src/engines/nova/core/image-marks.js';
import { meaningOf } from '../../../../src/engines/nova/core/image-ref.js';
import { type Image, imageSchema } from '../../../../src/engines/nova/core/images.js';
import type { ServerAddress } from '../../../../src/engines/nova/core/servers.js';
import { endOf } from '../../../../src/engines/nova/verbs/logs.js';

const now = Date.parse('2026-01-10T00:00:00Z');
const hours = (count: number): string => new Date(now - count * 3_600_000).toISOString();
const image = (id: string, fields: object = {}): Image =>
  imageSchema.parse({
    id,
    name: id,
    status: 'active',
    created_at: hours(100),
    os_hash_algo: 'sha512',
    os_hash_value: 'a'.repeat(128),
    ...fields,
  });
const own = { tags: ['cowherd'], 'cowherd:base': 'x' };

describe('a leftover', () => {
  it.each([
    ['a complete base image', { ...own }, false],
    ['an image of the user', { status: 'queued' }, false],
    ['an upload that never began', { ...own, status: 'queued' }, true],
    ['an upload that has just begun', { ...own, status: 'queued', created_at: hours(0.9) }, false],
    ['a long upload', { ...own, status: 'saving', created_at: hours(5) }, false],
    ['an abandoned upload', { ...own, status: 'saving', created_at: hours(25) }, true],
    ['a deactivated base image', { ...own, status: 'deactivated' }, false],
    ['an image of a member that was not sealed', { 'cowherd:state': 'creating', created_at: hours(2) }, true],
    ['an image of a member that is being created', { 'cowherd:state': 'creating', created_at: hours(0.5) }, false],
    ['an image of the user, of a server with a promoted image', { 'cowherd:state': 'ready', 'cowherd:base': 'x' }, false],
    ['an image with a time that cannot be read', { ...own, status: 'queued', created_at: 'yesterday' }, false],
  ])('is not confused: %s', (_what, fields, expected) => {
    expect(isLeftover(image('i', fields), now)).toBe(expected);
  });
});

describe('a reference', () => {
  const isOwn = ({ tags }: Image): boolean => tags.includes('cowherd');
  const hash = (digit: string): object => ({ os_hash_value: digit.repeat(128) });
  const named = { ...own, name: 'golden' };
  const of = (ref: string, ...images: Image[]): unknown => {
    const meaning = meaningOf(ref, images, isOwn);
    return meaning.kind === 'one' ? meaning.image.id : meaning.kind === 'none' ? 'none' : meaning.images.map(({ id }) => id);
  };

  it('means the newest content, and of the same content a protected or the oldest image', () => {
    const [old, newer] = [image('old', { ...named, ...hash('1') }), image('newer', { ...named, ...hash('2'), created_at: hours(3) })];
    const twin = image('twin', { ...named, ...hash('2'), created_at: hours(2) });
    expect(of('golden', twin, old, newer)).toBe('newer');
    expect(of('golden', { ...twin, isProtected: true }, old, newer)).toBe('twin');
    expect(of('golden@111111', twin, old, newer)).toBe('old');
    expect(of('2'.repeat(12), twin, old, newer)).toBe('newer');
    expect(of('golden@333333', old)).toBe('none');
    expect(of('golden@11111', old)).toBe('none');
  });

  it('with a digest that fits several contents is ambiguous', () => {
    const images = ['1', '2'].map((end) => image(end, { ...named, os_hash_value: 'a'.repeat(127) + end }));
    expect(of('golden@aaaaaa', ...images)).toEqual(['1', '2']);
  });

  it('that looks like a digest may be a name', () => {
    expect(of('deadbeefcafe', image('i', { ...own, name: 'deadbeefcafe', ...hash('1') }))).toBe('i');
  });

  it('means other images by their exact name first', () => {
    const images = [image('a', { name: 'Debian 12' }), image('b', { name: 'debian-12' })];
    expect([of('Debian 12', ...images), of('debian-12', ...images), of('debian', ...images)]).toEqual(['a', 'b', 'none']);
    expect(of('debian-12', images[0] as Image)).toBe('a');
  });
});

describe('what is wrong with an image', () => {
  it('is told with plain words', () => {
    expect(problemsOf(image('i', { ...own, protected: true }), true)).toEqual([]);
    expect(problemsOf(image('i', { status: 'dea\u001b[31mctivated' }), false, new Map([['lab', 'b'.repeat(64)]]))).toEqual([
      'it is deactivated',
      'its hash differs from the record of lab',
    ]);
    expect(problemsOf(image('i', { ...own, 'cowherd:sha512': 'b' }), true)).toEqual([
      'it is not protected',
      'its hash differs from the one at its completion',
    ]);
  });

  it('includes the origin of a promoted one', () => {
    const marks = { 'cowherd:fleet': 'lab', 'cowherd:member': 'lab-001', 'cowherd:parent': `golden@${'a'.repeat(64)}` };
    expect(promotedFrom(image('i', marks))).toEqual({ fleet: 'lab', member: 'lab-001', base: `golden@${'a'.repeat(12)}` });
    expect(promotedFrom(image('i', { ...marks, 'cowherd:member': null }))).toBeUndefined();
  });
});

describe('an address', () => {
  const list = (...all: Array<[string, ServerAddress['kind']?]>): { addresses: ServerAddress[] } => ({
    addresses: all.map(([address, kind = 'fixed']) => ({
      network: 'n',
      address,
      version: address.includes(':') ? 6 : 4,
      kind,
      mac: undefined,
    })),
  });
  const ofHost = new Set(['10.0.0.1']);

  it.each([
    [list(['10.0.0.2'], ['10.0.0.3']), '10.0.0.2'],
    [list(['10.0.0.2'], ['203.0.113.1', 'floating']), '203.0.113.1'],
    [list(['10.0.0.2'], ['10.0.0.1', 'floating']), '10.0.0.2'],
    [list(['fd00::1'], ['127.0.0.53'], ['169.254.0.1'], ['224.0.0.1'], ['10.0.0.1'], ['10.0.0.02']), undefined],
    [list(), undefined],
  ])('of %j is %s', (server, expected) => {
    expect(addressOf(server, ofHost)).toBe(expected);
  });

  it('is never one of this host', () => {
    expect(['10.0.0.1', '127.0.0.1', '169.254.1.1', '::1', 7, '10.0.0.2'].map((value) => guestIpv4(value, ofHost))).toEqual([
      ...Array(5).fill(undefined),
      '10.0.0.2',
    ]);
  });

  it.each([
    ['ACTIVE', null, true],
    ['ACTIVE', 'image_uploading', true],
    ['ACTIVE', 'rebuilding', false],
    ['ACTIVE', 'deleting', false],
    ['SHUTOFF', null, false],
  ])('is used of a server that is %s (%s): %s', (status, taskState, expected) => {
    expect(isUp({ status, taskState })).toBe(expected);
  });
});

it('the end of a text never begins within a character', () => {
  const text = guestText('aé€𝄞');
  expect([10, 9, 8, 7, 6, 4, 3, 0].map((most) => endOf(text, most))).toEqual([text, 'é€𝄞', '€𝄞', '€𝄞', '𝄞', '𝄞', '', '']);
});
