import { readFile, stat } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Fault } from '../../support/download/faults.js';
import { imageContent, sha256 } from '../../support/download/file-server.js';
import { DownloadLab } from './setup.js';

const content = imageContent(3_000_000);
const digest = sha256(content);
let lab: DownloadLab;
beforeEach(async () => {
  lab = await DownloadLab.open();
});
afterEach(() => lab.close());

describe('a download tries again', () => {
  it.each<[string, Fault, string]>([
    ['the connection ends in the middle', { kind: 'cut', after: 1_000_000 }, 'connection'],
    ['the server sends nothing more', { kind: 'stall', after: 1_000_000 }, 'stopped sending'],
    ['the connection ends before the reply', { kind: 'hang up' }, 'closed'],
    ['the server never replies', { kind: 'silence' }, 'no reply'],
    ['status 500', { kind: 'status', status: 500 }, 'status 500'],
    ['status 429', { kind: 'status', status: 429 }, 'too many'],
    ['status 408', { kind: 'status', status: 408 }, 'status 408'],
    ['the body is shorter than its Content-Length', { kind: 'wrong length', announced: 3_500_000 }, ''],
  ])('when %s', async (_, fault, reason) => {
    const url = lab.server.serve('/a.img', { content, faults: [fault] });
    expect(await lab.fetch(url)).toMatchObject({ bytes: content.length, sha256: digest });
    expect(lab.notes[0]).toContain(`Downloading ${url}: `);
    expect(lab.notes[0]).toContain(reason);
    expect(lab.notes[0]).toMatch(/Trying again in 1 s\.$/);
  });

  it('and continues where it ended, with the version that it began with', async () => {
    const url = lab.server.serve('/a.img', {
      content,
      faults: [
        { kind: 'cut', after: 1_000_000 },
        { kind: 'cut', after: 500_000 },
      ],
    });
    expect(await lab.fetch(url)).toMatchObject({ sha256: digest });
    const [first, second, third] = lab.server.requests;
    expect(first).toMatchObject({ range: undefined, ifRange: undefined });
    expect(second?.ifRange).toMatch(/^"/);
    const begins = [second, third].map((request) => Number(/bytes=(\d+)-$/.exec(request?.range ?? '')?.[1]));
    expect(begins[0]).toBeGreaterThan(0);
    expect(begins[1]).toBeGreaterThan(begins[0] ?? 0);
  });

  it('at most five times without progress', async () => {
    const url = lab.server.serve('/a.img', { content, always: { kind: 'status', status: 503 } });
    const refusal = await lab.refusal(url);
    expect(refusal).toMatchObject({ code: 'DOWNLOAD_FAILED', hint: expect.stringContaining('Run the same command again') });
    expect(lab.server.count('/a.img')).toBe(5);
    expect(lab.notes).toHaveLength(4);
    expect(lab.notes.at(-1)).toContain('(attempt 4 of 5)');
  });

  it('as often as it takes while there is progress', async () => {
    const faults = Array.from({ length: 12 }, () => ({ kind: 'cut', after: 200_000 }) as const);
    expect(await lab.fetch(lab.server.serve('/a.img', { content, faults }))).toMatchObject({ sha256: digest });
    expect(lab.server.count('/a.img')).toBe(13);
  });

  it('after the pause that the server asks for', async () => {
    const faults: Fault[] = [{ kind: 'status', status: 503, headers: { 'retry-after': '3600' } }];
    await lab.fetch(lab.server.serve('/a.img', { content, faults }));
    // The limit of the test.
    expect(lab.notes[0]).toContain('the service is unavailable. Trying again in 1 s.');
  });

  it('not when the name of the host is unknown', async () => {
    expect(await lab.refusal('http://cwt.invalid/a.img')).toMatchObject({ code: 'DOWNLOAD_FAILED' });
  });

  it('from the beginning if the server continues elsewhere', async () => {
    const faults: Fault[] = [{ kind: 'cut', after: 1_000_000 }, { kind: 'wrong range' }];
    expect(await lab.fetch(lab.server.serve('/a.img', { content, faults }))).toMatchObject({ sha256: digest });
    expect(lab.server.requests.map(({ range }) => range !== undefined)).toEqual([false, true, false]);
  });

  it('from the beginning if the server ignores ranges', async () => {
    const url = lab.server.serve('/a.img', { content, ranges: false, faults: [{ kind: 'cut', after: 1_000_000 }] });
    expect(await lab.fetch(url)).toMatchObject({ bytes: content.length, sha256: digest });
    expect(lab.notes.at(-1)).toContain('Starting again.');
  });

  it.each<[string, { etag: null; lastModified?: string }, boolean]>([
    ['without a version', { etag: null }, false],
    ['with a date only', { etag: null, lastModified: 'Tue, 01 Sep 2026 10:00:00 GMT' }, true],
  ])('%s', async (_, version, isContinued) => {
    const url = lab.server.serve('/a.img', { content, ...version, faults: [{ kind: 'cut', after: 1_000_000 }] });
    expect(await lab.fetch(url)).toMatchObject({ sha256: digest });
    expect(lab.server.requests[1]?.range !== undefined).toBe(isContinued);
  });

  it('from the beginning if the file was replaced meanwhile', async () => {
    const newer = imageContent(2_500_000, 'newer');
    const url = lab.server.serve('/a.img', { content, faults: [{ kind: 'cut', after: 1_000_000 }] });
    const onNote = (): void => void lab.server.serve('/a.img', newer);
    const done = await lab.fetch(url, { onNote });
    expect(done).toMatchObject({ bytes: newer.length, sha256: sha256(newer) });
    expect((await readFile(done.path)).equals(newer)).toBe(true);
  });

  it('at the mirror that it was redirected to, and at another one if that fails', async () => {
    const mirror = lab.server.serve('/mirror.img', {
      content,
      faults: [
        { kind: 'cut', after: 1_000_000 },
        { kind: 'cut', after: 500_000 },
        { kind: 'status', status: 404 },
      ],
    });
    const url = lab.server.serve('/a.img', { content, always: { kind: 'redirect', to: mirror } });
    expect(await lab.fetch(url)).toMatchObject({ sha256: digest });
    expect([lab.server.count('/a.img'), lab.server.count('/mirror.img')]).toEqual([2, 4]);
  });

  it('once if the digest is wrong after a continued download', async () => {
    const faults: Fault[] = [
      { kind: 'cut', after: 1_000_000 },
      { kind: 'flip', at: 10 },
    ];
    const url = lab.server.serve('/a.img', { content, faults });
    expect(await lab.fetch(url, { expected: { sha256: digest } })).toMatchObject({ sha256: digest });
    expect(lab.notes.at(-1)).toContain('is wrong after a continued download');
    expect(lab.server.count('/a.img')).toBe(3);
  });
});

describe('an interrupted download', () => {
  it('stays, and the next run continues it', async () => {
    const url = lab.server.serve('/a.img', { content, always: { kind: 'stall', after: 1_000_000 } });
    const abort = new AbortController();
    const slow = await DownloadLab.open({ idleMs: 60_000 });
    try {
      const error = await slow.refusal(url, { signal: abort.signal, onProgress: ({ doneBytes }) => doneBytes > 0 && abort.abort() });
      expect(error).toMatchObject({ code: 'INTERRUPTED', hint: 'Run the same command again: it continues the download.' });
      lab.server.serve('/a.img', content);
      const done = await slow.fetch(url);
      expect(done).toMatchObject({ sha256: digest });
      expect(slow.notes[0]).toContain('Continuing an earlier download');
      expect(lab.server.requests.at(-1)?.range).toMatch(/^bytes=[1-9]/);
      expect((await stat(done.path)).size).toBe(content.length);
    } finally {
      await slow.close();
    }
  });

  it('ends at once during a pause', async () => {
    const patient = await DownloadLab.open({
      retry: { attempts: 5, totalAttempts: 9, progressBytes: 1, firstPauseMs: 60_000, maxPauseMs: 60_000 },
    });
    const url = lab.server.serve('/a.img', { content, always: { kind: 'status', status: 500 } });
    const abort = new AbortController();
    try {
      expect(await patient.refusal(url, { signal: abort.signal, onNote: () => abort.abort() })).toMatchObject({ code: 'INTERRUPTED' });
    } finally {
      await patient.close();
    }
  });
});
