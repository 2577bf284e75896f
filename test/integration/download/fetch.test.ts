import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { imageContent, sha256 } from '../../support/download/file-server.js';
import { DownloadLab } from './setup.js';

const content = imageContent(1024 * 1024 * 5 + 123);
let lab: DownloadLab;
beforeEach(async () => {
  lab = await DownloadLab.open();
});
afterEach(() => lab.close());

describe('a download', () => {
  it('is stored with its digests, size and version, with holes for zeros, for this user only', async () => {
    const url = lab.server.serve('/a.img', { content, lastModified: 'Tue, 01 Sep 2026 10:00:00 GMT' });
    const seen: number[] = [];
    const done = await lab.fetch(url, {
      expected: { sha256: sha256(content).toUpperCase(), sha512: createHash('sha512').update(content).digest('hex') },
      onProgress: ({ doneBytes, totalBytes }) => seen.push(doneBytes, totalBytes ?? 0),
    });
    expect(done).toMatchObject({ url, bytes: content.length, sha256: sha256(content), lastModified: 'Tue, 01 Sep 2026 10:00:00 GMT' });
    expect(done.etag).toMatch(/^"/);
    expect(done.sha512).toHaveLength(128);
    expect((await readFile(done.path)).equals(content)).toBe(true);
    const stats = await stat(done.path);
    expect(stats.mode & 0o7777).toBe(0o600);
    expect(stats.blocks * 512).toBeLessThan(content.length * 0.9);
    expect(seen.slice(-2)).toEqual([content.length, content.length]);
    expect(lab.server.requests[0]?.acceptEncoding).toBe('identity');
    expect((await lab.files()).map((name) => name.replace(/^\w{16}/, 'KEY'))).toEqual(['KEY.json', 'KEY.part']);
    await lab.downloads.discard(url);
    expect(await lab.files()).toEqual([]);
  });

  it('ends with zeros at the right size', async () => {
    const zeros = Buffer.concat([Buffer.from('x'), Buffer.alloc(300_000)]);
    const { path, bytes } = await lab.fetch(lab.server.serve('/z', zeros));
    expect([bytes, (await readFile(path)).equals(zeros)]).toEqual([zeros.length, true]);
  });

  it('may have no Content-Length', async () => {
    const url = lab.server.serve('/a.img', { content, always: { kind: 'chunked' } });
    expect(await lab.fetch(url)).toMatchObject({ bytes: content.length, sha256: sha256(content) });
  });

  it('follows redirects, and reports where they lead', async () => {
    const target = lab.server.serve('/real.img', content);
    const url = lab.server.serve('/latest', { content, always: { kind: 'redirect', to: '/real.img', status: 307 } });
    expect(await lab.fetch(url)).toMatchObject({ url: target, sha256: sha256(content) });
  });

  it.each([
    ['a loop', '/loop', 'redirects more than 10 times'],
    ['another scheme', 'ftp://127.0.0.1/a', 'redirects to ftp:'],
    ['nonsense', 'http://[', 'invalid address'],
  ])('refuses redirects: %s', async (_, to, message) => {
    const url = lab.server.serve('/loop', { content, always: { kind: 'redirect', to } });
    const refusal = await lab.refusal(url);
    expect(refusal.code).toBe('DOWNLOAD_FAILED');
    expect(refusal.message).toContain(message);
    expect(lab.server.count('/loop')).toBeLessThanOrEqual(11);
  });

  it.each(['file:///etc/passwd', 'ftp://host/x', 'x', 'http://'])('refuses %s', async (url) => {
    expect(await lab.refusal(url)).toMatchObject({ code: 'BAD_USAGE', message: expect.stringContaining('is not an http or https URL') });
  });

  it('refuses a wrong digest and keeps nothing', async () => {
    const wrong = 'ab'.repeat(32);
    const refusal = await lab.refusal(lab.server.serve('/a.img', content), { expected: { sha256: wrong } });
    expect(refusal.code).toBe('BASE_REFUSED');
    expect(refusal.message).toContain(wrong);
    expect(refusal.message).toContain(sha256(content));
    expect(lab.server.count('/a.img')).toBe(1);
    expect(await lab.files()).toEqual([]);
  });

  it.each(['text/html', 'application/octet-stream'])('refuses a web page of type %s and keeps nothing', async (contentType) => {
    const url = lab.server.serve('/a.img', { content, always: { kind: 'html', contentType } });
    expect(await lab.refusal(url)).toMatchObject({ code: 'BASE_REFUSED', message: `${url} is a web page, not an image` });
    expect(await lab.files()).toEqual([]);
  });

  it('refuses an empty file', async () => {
    const url = lab.server.serve('/a.img', Buffer.alloc(0));
    expect(await lab.refusal(url)).toMatchObject({ code: 'BASE_REFUSED', message: `${url} is empty` });
    expect(await lab.files()).toEqual([]);
  });

  it('refuses what is too large, before or while it reads', async () => {
    const large = await lab.refusal(lab.server.serve('/a.img', content), { maxBytes: 1_000_000 });
    expect(large).toMatchObject({ code: 'BASE_REFUSED', message: expect.stringContaining('at most 977 KiB are allowed') });
    const endless = lab.server.serve('/b.img', { content, always: { kind: 'endless' } });
    expect(await lab.refusal(endless, { maxBytes: 1_000_000 })).toMatchObject({ code: 'BASE_REFUSED' });
    expect(await lab.files()).toEqual([]);
  });

  it('refuses a compressed reply', async () => {
    const url = lab.server.serve('/a.img', { content, always: { kind: 'encoded', encoding: 'gzip' } });
    expect(await lab.refusal(url)).toMatchObject({ code: 'DOWNLOAD_FAILED', message: expect.stringContaining('compresses the file') });
  });

  it.each([401, 403, 404, 410, 400])('does not try again after status %i', async (status) => {
    const url = lab.server.serve('/a.img', { content, always: { kind: 'status', status } });
    expect(await lab.refusal(url)).toMatchObject({ code: 'DOWNLOAD_FAILED', message: expect.stringContaining(`status ${status}`) });
    expect(lab.server.count('/a.img')).toBe(1);
    expect(await lab.files()).toEqual([]);
  });

  it('does not follow a link in place of its files', async () => {
    const url = lab.server.serve('/a.img', content);
    const { path } = await lab.fetch(url);
    await lab.downloads.discard(url);
    const other = join(lab.store, 'other');
    await writeFile(other, 'precious');
    await symlink(other, path);
    expect(await lab.refusal(url)).toMatchObject({ code: 'STORE_FAILED' });
    expect(await readFile(other, 'utf8')).toBe('precious');
  });

  it('does not use a link as its directory', async () => {
    await mkdir(join(lab.store, 'elsewhere'));
    await symlink(join(lab.store, 'elsewhere'), join(lab.store, 'downloads'));
    expect(await lab.refusal(lab.server.serve('/a.img', content))).toMatchObject({ code: 'STORE_FAILED' });
  });
});

describe('a login in the URL', () => {
  const withLogin = (url: string): string => url.replace('://', '://me:s%40cret@');

  it('is sent to its server, and appears nowhere', async () => {
    const url = lab.server.serve('/a.img', { content, login: 'me:s@cret', faults: [{ kind: 'cut', after: 1000 }] });
    const done = await lab.fetch(withLogin(url));
    expect(done).toMatchObject({ url, sha256: sha256(content) });
    const record = await readFile(done.path.replace(/part$/, 'json'), 'utf8');
    expect(record).toContain(url);
    const missing = await lab.refusal(withLogin(lab.server.url('/missing')));
    expect(JSON.stringify([done, lab.notes, record, missing])).not.toMatch(/s@cret|s%40cret|me:/);
    expect(lab.notes).toHaveLength(1);
  });

  it('is not sent to another server', async () => {
    const other = await DownloadLab.open();
    try {
      const to = other.server.serve('/a.img', content);
      const url = lab.server.serve('/a', { content, login: 'me:s@cret', always: { kind: 'redirect', to } });
      expect(await lab.fetch(withLogin(url))).toMatchObject({ sha256: sha256(content) });
      expect(lab.server.requests[0]?.authorization).toMatch(/^Basic /);
      expect(other.server.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
    } finally {
      await other.close();
    }
  });
});
