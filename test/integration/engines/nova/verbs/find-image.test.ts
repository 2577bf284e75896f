import { afterEach, beforeEach, expect, it } from 'vitest';
import type { NovaContext } from '../../../../../src/engines/nova/context.js';
import { findImage, lookUpImage } from '../../../../../src/engines/nova/verbs/find-image.js';
import { findBase } from '../../../../../src/engines/nova/verbs/import-file.js';
import type { CloudImage } from '../../../../fakes/openstack/stateful/world.js';
import { NovaLab } from '../../../../support/openstack/nova-lab.js';
import { addOldImage } from '../../../../support/openstack/recorded-fleet.js';

const id = '5a3e0c52-7c1f-4f1a-9d2b-6c0e7f9a1b01';

let lab: NovaLab;
let context: NovaContext;

beforeEach(async () => {
  lab = await NovaLab.openEmpty();
  context = await lab.context();
});
afterEach(async () => {
  expect(lab.cloud.fake.unknown).toEqual([]);
  await lab.close();
});

const own = { tags: ['cowherd'], properties: { 'cowherd:base': 'golden' }, name: 'golden', isProtected: true };
const image = (imageId: string, fields: Partial<CloudImage> = {}): CloudImage => addOldImage(lab.cloud, imageId, fields);
const find = async (ref: string): Promise<string> => (await findImage(context, ref)).id;

it('finds any image by name, id, name and digest, or digest', async () => {
  const digest = String(image(id, { name: 'Ubuntu 24.04', visibility: 'public', owner: 'other' }).sha512);
  for (const ref of ['Ubuntu 24.04', id, `ubuntu-24-04@${digest.slice(0, 12)}`, digest.slice(0, 64), 'ubuntu-24-04'])
    expect(await find(ref)).toBe(id);
});

it('prefers images of cowherd in this project', async () => {
  image('hijack', { ...own, owner: 'other' });
  image('own', own);
  image('namesake', { name: 'golden' });
  image('later hijack', { ...own, owner: 'other' });
  expect(await find('golden')).toBe('own');
  expect(lab.cloud.fake.count('GET', /v2\/images/)).toBe(1);
});

it('refuses names and digests of several images', async () => {
  image('a', { name: 'Debian' });
  image('b', { name: 'Debian' });
  // In the order of the Image service: the newest first.
  await expect(find('Debian')).rejects.toMatchObject({
    code: 'BAD_USAGE',
    details: [expect.stringContaining('b: '), expect.stringContaining('a: ')],
  });
  image('c', { ...own, sha512: `abcdef${'1'.repeat(122)}` });
  image('d', { ...own, sha512: `abcdef${'2'.repeat(122)}` });
  await expect(find('golden@abcdef')).rejects.toMatchObject({ code: 'BAD_USAGE', hint: expect.any(String) });
  expect(await find('golden@abcdef1')).toBe('c');
});

it('uses complete images only', async () => {
  image('old', own);
  image('new', { ...own, status: 'saving' });
  expect(await find('golden')).toBe('old');
  image('alone', { name: 'alone', status: 'queued' });
  image('promoting', { name: 'promoting', properties: { 'cowherd:state': 'creating' } });
  for (const ref of ['alone', 'promoting']) {
    await expect(find(ref)).rejects.toMatchObject({ code: 'BASE_REFUSED', hint: expect.any(String) });
    expect((await lookUpImage(context, ref)).id).toBe(ref);
  }
});

it('says if there is none, also for hostile names', async () => {
  image('a', { name: 'evil\u001b[2J\u202e' });
  for (const ref of ['golden', 'x'.repeat(300), '', '../../etc/passwd', 'a\u001b[2J', id])
    await expect(find(ref)).rejects.toMatchObject({ code: 'BASE_NOT_FOUND', message: expect.not.stringMatching(/\p{Cc}/u) });
  image('b', { name: 'evil\u001b[2J\u202e' });
  await expect(find('evil\u001b[2J\u202e')).rejects.toMatchObject({ code: 'BAD_USAGE', message: expect.not.stringMatching(/\p{Cc}/u) });
});

it('is tried for a --base that looks like a file but is none', async () => {
  image(id, { name: 'Ubuntu 24.04' });
  expect(await findBase(context, 'Ubuntu 24.04', {})).toMatchObject({ kind: 'image', image: { id } });
  expect(await findBase(context, 'package.json', {})).toEqual({ kind: 'file' });
  expect(await findBase(context, 'https://example.org/x.qcow2', {})).toEqual({ kind: 'file' });
  await expect(findBase(context, './no/such.qcow2', {})).rejects.toMatchObject({ code: 'FILE_NOT_FOUND', hint: expect.any(String) });
  await expect(findBase(context, 'golden', {})).rejects.toMatchObject({ code: 'BASE_NOT_FOUND' });
});
