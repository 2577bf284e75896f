import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { imageContent } from '../../support/download/file-server.js';
import { DownloadLab } from './setup.js';

const content = imageContent(300_000);
let lab: DownloadLab;
beforeEach(async () => {
  lab = await DownloadLab.open();
});
afterEach(() => lab.close());

describe('what a server says about a file', () => {
  const lastModified = 'Tue, 01 Sep 2026 10:00:00 GMT';

  it('is read without its content, after redirects', async () => {
    const url = lab.server.serve('/a.img', { content, lastModified, etag: '"x"' });
    const from = lab.server.serve('/latest', { content, always: { kind: 'redirect', to: url } });
    expect(await lab.downloads.probe(from)).toEqual({ url, bytes: content.length, etag: '"x"', lastModified });
    expect(lab.server.requests.map(({ method }) => method)).toEqual(['HEAD', 'HEAD']);
  });

  it.each([403, 405, 501])('is read with GET if HEAD is refused with status %i', async (headStatus) => {
    const url = lab.server.serve('/a.img', { content, headStatus, etag: '"x"' });
    expect(await lab.downloads.probe(url)).toMatchObject({ bytes: content.length, etag: '"x"' });
    expect(lab.server.requests.at(-1)).toMatchObject({ method: 'GET', range: 'bytes=0-0' });
    const whole = lab.server.serve('/b.img', { content, headStatus, ranges: false });
    expect(await lab.downloads.probe(whole)).toMatchObject({ bytes: content.length });
    const empty = lab.server.serve('/c.img', { content: Buffer.alloc(0), headStatus });
    expect(await lab.downloads.probe(empty)).toMatchObject({ bytes: 0 });
  });

  it('is an error if there is no such file, and names no password', async () => {
    const url = lab.server.url('/missing').replace('://', '://me:secret@');
    await expect(lab.downloads.probe(url)).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      message: `Could not download ${lab.server.url('/missing')}: the server replied with status 404: the file does not exist`,
    });
    await expect(lab.downloads.probe('nonsense')).rejects.toMatchObject({ code: 'BAD_USAGE' });
  });

  it('is not waited for after an interruption', async () => {
    await expect(lab.downloads.probe(lab.server.url('/a'), AbortSignal.abort())).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });
});

describe('a text', () => {
  it('is read completely, with repetitions', async () => {
    const url = lab.server.serve('/SHA256SUMS', {
      content,
      faults: [
        { kind: 'cut', after: 1000 },
        { kind: 'status', status: 502 },
      ],
    });
    const { bytes, url: from } = await lab.downloads.text({ url, maxBytes: content.length });
    expect([bytes.equals(content), from]).toEqual([true, url]);
    expect(lab.server.requests).toHaveLength(3);
  });

  it('is refused if it is too large', async () => {
    const url = lab.server.serve('/SHA256SUMS', content);
    const tooLarge = { code: 'DOWNLOAD_FAILED', message: `Could not download ${url}: it is larger than 1000 B` };
    await expect(lab.downloads.text({ url, maxBytes: 1000 })).rejects.toMatchObject(tooLarge);
    lab.server.serve('/SHA256SUMS', { content, always: { kind: 'endless' } });
    await expect(lab.downloads.text({ url, maxBytes: 1000 })).rejects.toMatchObject(tooLarge);
  });

  it('is given up if it takes too long, however slowly it arrives', async () => {
    const slow = await DownloadLab.open({ textMs: 100, idleMs: 60_000 });
    const url = slow.server.serve('/SHA256SUMS', { content, always: { kind: 'stall', after: 10 } });
    await expect(slow.downloads.text({ url, maxBytes: 1e6 })).rejects.toMatchObject({
      message: expect.stringContaining('it took too long'),
    });
    expect(slow.server.requests).toHaveLength(5);
    await slow.close();
  });
});
