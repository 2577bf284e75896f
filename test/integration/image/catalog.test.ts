import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBuiltInCatalog } from '../../../src/adapters/host/catalog.js';
import { readNamedFile } from '../../../src/adapters/host/named-files.js';
import type { BaseImage } from '../../../src/core/image/base.js';
import type { TextRequest } from '../../../src/ports/downloads.js';
import { listCatalog, loadCatalog } from '../../../src/services/base/catalog.js';

const own = `
images:
  - name: golden
    title: Our image
    aliases: [debian]
    defaults: {sshUser: admin, memoryMiB: 2048}
    files:
      x86_64: {url: "https://images.example/golden.qcow2"}
`;
const digest = 'ab'.repeat(32);
const stored = (name: string, importedAt: string, pulled?: object): BaseImage =>
  ({ name, digest, importedAt, ...(pulled === undefined ? {} : { pulled }) }) as BaseImage;

describe('the catalog', () => {
  let directory: string;
  const asked: TextRequest[] = [];
  const texts = new Map<string, Buffer>();
  const ports = {
    builtInCatalog: readBuiltInCatalog,
    readFile: readNamedFile,
    downloads: {
      text: async (request: TextRequest) => {
        asked.push(request);
        return { url: request.url, bytes: texts.get(request.url) ?? Buffer.alloc(0) };
      },
    } as never,
    bases: {
      list: async () => ({
        bases: [
          stored('debian-13', '2026-01-01T00:00:00.000Z'),
          stored('web', '2026-11-02T00:00:00.000Z', { catalog: 'debian-13', pulledAt: '2026-11-01T00:00:00.000Z' }),
        ],
        damaged: [],
      }),
    } as never,
  };
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cwt-catalog-'));
  });
  afterAll(() => rm(directory, { recursive: true }));

  it('is the built-in one, with what is in the store and since when', async () => {
    const { images } = await listCatalog(ports);
    expect(images.every(({ source }) => source === 'built-in')).toBe(true);
    expect(images.find(({ name }) => name === 'debian-13')?.inStore).toEqual({
      ref: 'web@abababababab',
      since: '2026-11-01T00:00:00.000Z',
    });
    expect(images.find(({ name }) => name === 'arch')?.inStore).toBeNull();
    expect(asked).toEqual([]);
  });

  it('has the form that programs read', async () => {
    const { images } = await listCatalog(ports, { names: ['tumbleweed'], architecture: 'aarch64' });
    expect(images).toEqual([
      {
        name: 'tumbleweed',
        title: 'openSUSE Tumbleweed',
        aliases: ['opensuse-tumbleweed'],
        source: 'built-in',
        architectures: ['aarch64'],
        defaults: { firmware: 'bios', seed: 'nocloud', wait: 'cloud-init', memoryMiB: 1024, sshUser: 'opensuse' },
        files: {
          aarch64: {
            url: expect.stringContaining('aarch64'),
            list: { url: expect.any(String), hash: 'sha256', signature: expect.any(String), keyrings: expect.any(Array) },
            firmware: 'uefi',
          },
        },
        inStore: null,
      },
    ]);
  });

  it('lists named images in the order of the names, each once', async () => {
    const { images } = await listCatalog(ports, { names: ['fedora', 'debian', 'debian-13'] });
    expect(images.map(({ name }) => name)).toEqual(['fedora-44', 'debian-13']);
    await expect(listCatalog(ports, { names: ['arch'], architecture: 'aarch64' })).rejects.toMatchObject({ code: 'BASE_NOT_FOUND' });
    const { images: arm } = await listCatalog(ports, { architecture: 'aarch64' });
    expect(arm.map(({ name }) => name)).not.toContain('arch');
  });

  it('includes the images of a file', async () => {
    const path = join(directory, 'images.yaml');
    await writeFile(path, own);
    const { images } = await listCatalog(ports, { names: ['debian'], catalog: path });
    expect(images).toMatchObject([{ name: 'golden', title: 'Our image', source: path, defaults: { sshUser: 'admin' } }]);
    await writeFile(path, own.replace('files', 'flies'));
    await expect(loadCatalog(ports, { catalog: path })).rejects.toMatchObject({
      code: 'BAD_SPEC',
      details: expect.arrayContaining([`${path}:7:5: unknown key "flies"; did you mean "files"?`]),
    });
    await expect(loadCatalog(ports, { catalog: join(directory, 'missing') })).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  });

  it('includes the images of a URL, whose password is not shown', async () => {
    const url = 'https://me:secret@images.example/images.yaml';
    texts.set(url, Buffer.from(own));
    const { signal } = new AbortController();
    const { images } = await listCatalog(ports, { names: ['golden'], catalog: url, signal });
    expect(images[0]?.source).toBe('https://images.example/images.yaml');
    expect(asked).toEqual([{ url, maxBytes: 1024 * 1024, signal }]);
    texts.set(url, Buffer.from([0xff, 0xfe]));
    await expect(loadCatalog(ports, { catalog: url })).rejects.toMatchObject({
      code: 'BAD_SPEC',
      message: 'https://images.example/images.yaml is not a text file in UTF-8',
    });
  });
});
