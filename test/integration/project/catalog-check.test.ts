import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkImages } from '../../../scripts/catalog-probe.js';
import { parseCatalog } from '../../../src/core/image/catalog-file.js';
import { repository } from '../../support/docs/pages.js';

const sha256 = 'a1'.repeat(32);
const sha512 = 'b2'.repeat(64);

/** Of each path: a text, or the status of a refusal. */
const pages: Record<string, string | number> = {
  '/SHA256SUMS': `${sha256} *image-1.9.qcow2\n${sha256} *image-1.10.qcow2\n${sha256}  ./old.qcow2\nnot a digest\n`,
  '/CHECKSUM': `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# image-1.9.qcow2: 5 bytes\nSHA512 (image-1.9.qcow2) = ${sha512}\n`,
  '/image-1.9.qcow2': 'image',
  '/image-1.10.qcow2': 'image',
  '/latest.qcow2': 'image',
  '/latest.qcow2.sha256': `${sha256}\n`,
  '/SHA256SUMS.gpg': 'signature',
  '/no-head.qcow2': 'image',
  '/broken': 500,
};

describe('npm run catalog:check', () => {
  let server: Server;
  let directory: string;
  let origin: string;
  const requests: string[] = [];
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cwt-check-'));
    server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url}`);
      const page = pages[request.url ?? ''];
      if (request.method === 'HEAD' && request.url === '/no-head.qcow2') response.writeHead(405).end();
      else if (request.url === '/silent') return;
      else if (typeof page === 'string') response.end(page);
      else response.writeHead(page ?? 404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true });
  });

  const file = (url: string, list?: object): object => ({ url: `${origin}/${url}`, ...(list === undefined ? {} : { list }) });
  const list = (path: string, more: object = {}): object => ({ url: `${origin}/${path}`, hash: 'sha256', ...more });
  const check = async (x86: object, options = {}): Promise<string> => {
    const text = JSON.stringify({ images: [{ name: 'a', files: { x86_64: x86 } }] });
    const [row] = await checkImages(parseCatalog(text, 'x').images, options);
    return row?.problem?.replace(origin, '') ?? `ok: ${row?.file}`;
  };

  it('resolves a * to the newest file in the list, by number', async () => {
    expect(await check(file('image-*.qcow2', list('SHA256SUMS')))).toBe('ok: image-1.10.qcow2');
  });

  it('finds a file in lists of each form, and beside a list with only its digest', async () => {
    expect(await check(file('image-1.9.qcow2', list('CHECKSUM', { hash: 'sha512', signature: 'inline' })))).toBe('ok: image-1.9.qcow2');
    expect(await check(file('latest.qcow2', list('latest.qcow2.sha256')))).toBe('ok: latest.qcow2');
  });

  it('asks for one byte if a server refuses HEAD', async () => expect(await check(file('no-head.qcow2'))).toBe('ok: no-head.qcow2'));

  it('finds what is missing', async () => {
    expect(await check(file('gone.qcow2'))).toBe('/gone.qcow2: 404');
    expect(await check(file('old.qcow2', list('SHA256SUMS')))).toBe('/old.qcow2: 404');
    expect(await check(file('latest.qcow2', list('SHA256SUMS')))).toBe('/SHA256SUMS has no sha256 of latest.qcow2');
    expect(await check(file('image-1.9.qcow2', list('SHA256SUMS', { hash: 'sha512' })))).toBe(
      '/SHA256SUMS: The list of digests contains no sha512 digest',
    );
    expect(await check(file('image-1.9.qcow2', list('broken')))).toBe('/broken: 500');
    expect(await check(file('image-1.9.qcow2', list('SHA256SUMS', { signature: 'inline' })))).toBe('/SHA256SUMS is not signed');
    expect(await check(file('image-1.9.qcow2', list('SHA256SUMS', { signature: `${origin}/SHA256SUMS.sig` })))).toBe(
      '/SHA256SUMS.sig: 404',
    );
    expect(await check(file('silent'), { timeoutMs: 50 })).toMatch(/^\/silent: .*timeout/);
  });

  it('prints a table, reads each list once, and exits 1 if something is missing', async () => {
    const path = join(directory, 'images.json');
    const good = file('image-1.9.qcow2', list('SHA256SUMS', { signature: `${origin}/SHA256SUMS.gpg`, keyrings: ['/k.gpg'] }));
    const run = async (aarch64: object) => {
      await writeFile(path, JSON.stringify({ images: [{ name: 'a', files: { x86_64: good, aarch64 } }] }));
      requests.length = 0;
      const args = ['--import', 'tsx', 'scripts/catalog-check.ts', '--catalog', path];
      return execa(process.execPath, args, { cwd: repository, reject: false });
    };
    const { stdout, exitCode } = await run(good);
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/^IMAGE +ARCH +RESULT +FILE\na +x86_64 +ok +image-1\.9\.qcow2\n/)]);
    expect(requests.filter((one) => one === 'GET /SHA256SUMS')).toHaveLength(1);
    const failed = await run(file('gone.qcow2'));
    expect(failed).toMatchObject({
      exitCode: 1,
      stdout: expect.stringMatching(/aarch64 +MISSING +http.*: 404\n2 files: 1 ok, 1 missing\.$/),
    });
  });
});
