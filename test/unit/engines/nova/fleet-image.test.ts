import { expect, it } from 'vitest';
import { namePattern } from '../../../../src/core/names.js';
import { baseNameOf, baseRefOf, isOwnImage } from '../../../../src/engines/nova/core/fleet-image.js';

const hash = { algorithm: 'sha512', value: `${'a'.repeat(64)}${'b'.repeat(64)}` };

it('an image is identified by the beginning of the hash that the Image service computed', () => {
  expect(baseRefOf({ id: 'i', name: 'debian-12', hash })).toEqual({ name: 'debian-12', digest: 'a'.repeat(64) });
});

it.each([
  ['without a hash', undefined],
  ['with a short one', { algorithm: 'md5', value: 'a'.repeat(32) }],
])('an image %s is refused, with a way out', (_title, short) => {
  expect(() => baseRefOf({ id: 'i', name: 'volume', hash: short })).toThrow(
    expect.objectContaining({ code: 'BASE_REFUSED', hint: expect.stringContaining('cowherd base add') }),
  );
});

it.each(['Ubuntu 24.04 LTS (Noble)', 'Ünïcode', '../../etc/passwd', '', '----', 'x'.repeat(300), 'a\u001b[2Jb'])(
  'the name of image %j becomes a valid base name',
  (name) => {
    expect(baseNameOf({ id: '6f1c2d3e-0000', name })).toMatch(namePattern);
  },
);

it('an image of a server inherits properties, but is not an own image without the tag', () => {
  const properties = { 'cowherd:base': 'golden' };
  expect(isOwnImage({ tags: ['cowherd'], properties })).toBe(true);
  expect(isOwnImage({ tags: [], properties })).toBe(false);
  expect(isOwnImage({ tags: ['cowherd'], properties: {} })).toBe(false);
});
