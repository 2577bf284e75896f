import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Cloud } from '../../../../src/engines/nova/cloud.js';
import { FakeCloud, type Received } from '../../../fakes/openstack/fake-cloud.js';
import { basics, FastClock, openFake } from '../../../fakes/openstack/open-fake.js';

const content = Buffer.alloc(3 * 1024 * 1024, 'image');
const sha512 = createHash('sha512').update(content).digest('hex');
const newImage = { name: 'golden', format: 'qcow2', tags: ['cowherd'] } as const;
const isUpload = ({ method, path }: Received): boolean => method === 'PUT' && path.endsWith('/file');

let fake: FakeCloud;
let cloud: Cloud;
/** The images of the cloud, by id. */
let images: Map<string, Record<string, unknown>>;
let hash: { os_hash_algo: string; os_hash_value: string };

beforeEach(async () => {
  fake = await FakeCloud.start();
  basics(fake);
  images = new Map();
  hash = { os_hash_algo: 'sha512', os_hash_value: sha512 };
  fake.on(({ service, method, path, request, bytes }) => {
    if (service !== 'image') return undefined;
    const id = path.split('/')[3] ?? '';
    const image = images.get(id);
    if (method === 'POST') {
      const fields = request as Record<string, unknown>;
      if (images.has(String(fields.id))) return { status: 409, reply: { message: 'exists' } };
      images.set(String(fields.id), { ...fields, status: 'queued', created_at: '2026' });
      return { status: 201, reply: images.get(String(fields.id)) };
    }
    if (image === undefined) return { status: 404, reply: { message: 'No image found' } };
    if (method === 'PUT') {
      images.set(id, { ...image, ...hash, status: 'active', size: bytes });
      return { status: 204 };
    }
    if (method === 'DELETE') {
      images.delete(id);
      return { status: 204 };
    }
    return { status: 200, reply: image };
  });
  cloud = await openFake(fake);
});
afterEach(() => fake.stop());

const source = (bytes = content): { path: string; bytes: number; open(): Readable } => ({
  path: 'golden.qcow2',
  bytes: bytes.length,
  open: () => Readable.from([bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)]),
});

describe('an upload', () => {
  it('is compared with what the cloud has stored', async () => {
    const seen: number[] = [];
    const image = await cloud.upload(newImage, source(), { onProgress: (bytes) => seen.push(bytes) });
    expect(image).toMatchObject({ name: 'golden', status: 'active', bytes: content.length, hash: { algorithm: 'sha512', value: sha512 } });
    expect(seen.at(-1)).toBe(content.length);
  });

  it.each([
    ['another hash', { os_hash_algo: 'sha512', os_hash_value: 'f'.repeat(128) }, 'IMAGE_CHANGED'],
    ['another algorithm', { os_hash_algo: 'md5', os_hash_value: 'f'.repeat(32) }, 'NOT_SUPPORTED'],
  ])('with %s is refused, and removed', async (_name, other, code) => {
    hash = other;
    await expect(cloud.upload(newImage, source())).rejects.toMatchObject({ code, hint: expect.any(String) });
    expect(images.size).toBe(0);
  });

  it('whose reply was lost is complete', async () => {
    fake.fail(isUpload, 'lost');
    expect((await cloud.upload(newImage, source())).status).toBe('active');
    expect(fake.count('PUT', /file/)).toBe(1);
  });

  it('that was lost is sent again from its beginning', async () => {
    fake.fail(isUpload, 'refused', 2);
    expect((await cloud.upload(newImage, source())).hash?.value).toBe(sha512);
    expect(fake.count('PUT', /file/)).toBe(3);
  });

  it('is sent again with a new token', async () => {
    fake.fail(isUpload, { status: 401 });
    expect((await cloud.upload(newImage, source())).hash?.value).toBe(sha512);
  });

  it('that creates its image twice, because a reply was lost, has one image', async () => {
    fake.fail(({ service, method }) => service === 'image' && method === 'POST', 'lost');
    await cloud.upload(newImage, source());
    expect([images.size, fake.count('POST', /images/)]).toEqual([1, 2]);
  });

  it('that is interrupted is removed', async () => {
    const end = new AbortController();
    fake.fail(isUpload, 'silence');
    setTimeout(() => end.abort(), 150);
    await expect(cloud.upload(newImage, source(), { signal: end.signal })).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(images.size).toBe(0);
  });

  it('of a file that changes meanwhile is refused', async () => {
    for (const bytes of [content.length - 5, content.length + 5]) {
      const changed = { ...source(), bytes };
      await expect(cloud.upload(newImage, changed)).rejects.toMatchObject({
        code: 'FILE_NOT_FOUND',
        message: expect.stringContaining('size changed'),
      });
    }
    expect(images.size).toBe(0);
  });

  it('reads a real file, and says if it cannot', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cwt-upload-'));
    const path = join(directory, 'golden.qcow2');
    await writeFile(path, content);
    try {
      const image = await cloud.upload(newImage, { path, bytes: content.length, open: () => createReadStream(path) });
      expect(image.hash?.value).toBe(sha512);
      const gone = { path: `${path}x`, bytes: 5, open: () => createReadStream(`${path}x`) };
      await expect(cloud.upload(newImage, gone)).rejects.toMatchObject({
        code: 'FILE_NOT_FOUND',
        message: expect.stringContaining('ENOENT'),
      });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe('an image', () => {
  const raw = (id: string, status = 'active'): Record<string, unknown> => ({ id, name: 'golden', status, created_at: '2026' });

  it.each([
    ['killed', 'TOOL_FAILED'],
    ['deactivated', 'TOOL_FAILED'],
    ['saving', 'TOOL_TIMEOUT'],
    ['new_state', 'TOOL_TIMEOUT'],
  ])('that stays %s is an error', async (status, code) => {
    images.set('a', raw('a', status));
    await expect(cloud.images.waitUntilActive('a', 20_000)).rejects.toMatchObject({ code, hint: expect.any(String) });
  });

  it('that the cloud removes again is an error', async () => {
    await expect(cloud.images.waitUntilActive('gone', 20_000)).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    expect(await cloud.images.get('gone')).toBeUndefined();
    expect(await cloud.images.delete('gone')).toBe('gone');
  });

  it('is waited for', async () => {
    images.set('a', raw('a', 'queued'));
    const clock = new FastClock();
    const sleep = clock.sleep.bind(clock);
    clock.sleep = async (ms) => {
      images.set('a', raw('a', clock.pauses.length > 2 ? 'active' : 'saving'));
      await sleep(ms);
    };
    expect((await (await openFake(fake, { clock })).images.waitUntilActive('a', 20_000)).status).toBe('active');
  });
});
