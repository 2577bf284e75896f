import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HttpDownloads } from '../../../src/adapters/download/downloads.js';
import { temporaryOf } from '../../../src/adapters/store/files/atomic-write.js';
import { imageContent, sha256 } from '../../support/download/file-server.js';
import { until } from '../../support/lab.js';
import { DownloadLab } from './setup.js';

const content = imageContent(20_000_000);
const digest = sha256(content);
let lab: DownloadLab;
beforeEach(async () => {
  lab = await DownloadLab.open();
});
afterEach(() => lab.close());

const main = fileURLToPath(new URL('../../support/download/download-main.ts', import.meta.url));
const start = (...args: string[]) => execa('node', ['--import', 'tsx', main, lab.store, ...args], { reject: false });

/** Leaves a part, as a run that was interrupted does. */
async function interrupt(url: string, after = 8_000_000): Promise<string> {
  lab.server.serve('/a.img', { content, faults: [{ kind: 'cut', after }], always: { kind: 'status', status: 500 } });
  await lab.refusal(url);
  const names = await lab.files();
  lab.server.serve('/a.img', content);
  lab.server.requests.length = 0;
  return join(lab.store, 'downloads', names.find((name) => name.endsWith('.part')) ?? '');
}

/** Changes the record of a part; undefined removes a value. */
async function rewrite(part: string, change: Record<string, unknown>): Promise<void> {
  const path = part.replace(/part$/, 'json');
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...change }));
}

describe('a part of an earlier run', () => {
  it('survives kill -9 and is continued', async () => {
    const never = new Promise(() => undefined);
    const url = lab.server.serve('/a.img', { content, faults: [{ kind: 'hold', after: 15_000_000, until: never }] });
    const child = start(url, digest);
    const partBytes = async (): Promise<number> => {
      const name = (await lab.files()).find((file) => file.endsWith('.part'));
      return name === undefined ? 0 : (await readFile(join(lab.store, 'downloads', name))).length;
    };
    await until('a part', async () => (await partBytes()) > 4_000_000);
    child.kill('SIGKILL');
    await child;
    const { stdout, stderr } = await start(url, digest);
    expect(JSON.parse(stdout)).toMatchObject({ bytes: content.length, sha256: digest });
    expect(stderr).toContain('Continuing an earlier download');
    expect(lab.server.requests.map(({ range }) => range?.replace(/\d{7,}/, 'N'))).toEqual([undefined, 'bytes=N-']);
  });

  it('is not continued after a reboot, unless there is a digest', async () => {
    const url = lab.server.url('/a.img');
    const reboot = { bootId: 'earlier' };
    await rewrite(await interrupt(url), reboot);
    expect(await lab.fetch(url, { expected: { sha256: digest } })).toMatchObject({ sha256: digest });
    expect(lab.server.requests[0]?.range).toMatch(/^bytes=/);
    await lab.downloads.discard(url);
    await rewrite(await interrupt(url), reboot);
    expect(await lab.fetch(url)).toMatchObject({ sha256: digest });
    expect(lab.server.requests[0]?.range).toBeUndefined();
  });

  it.each<[string, Record<string, unknown>]>([
    ['a damaged record', { version: 7 }],
    ['the record of another URL', { url: 'http://example.org/' }],
    ['no version', { etag: undefined, lastModified: undefined }],
    ['a size that is smaller than the part', { bytes: 10 }],
  ])('is not continued with %s', async (_, change) => {
    const url = lab.server.url('/a.img');
    await rewrite(await interrupt(url), change);
    expect(await lab.fetch(url)).toMatchObject({ sha256: digest });
    expect(lab.server.requests[0]?.range).toBeUndefined();
  });

  it('is downloaded again if its content was damaged', async () => {
    const url = lab.server.url('/a.img');
    const part = await interrupt(url);
    const damaged = await readFile(part);
    damaged.write('damaged', 1000);
    await writeFile(part, damaged);
    expect(await lab.fetch(url, { expected: { sha256: digest } })).toMatchObject({ sha256: digest });
    expect(lab.server.requests.map(({ range }) => range !== undefined)).toEqual([true, false]);
  });

  it('is kept if a network answers with its login page', async () => {
    const url = lab.server.url('/a.img');
    await interrupt(url);
    lab.server.serve('/a.img', { content, faults: [{ kind: 'html' }] });
    expect(await lab.refusal(url)).toMatchObject({ code: 'BASE_REFUSED' });
    await lab.fetch(url);
    expect(lab.server.requests.at(-1)?.range).toMatch(/^bytes=/);
  });

  it('that is complete is not downloaded again: without a request if there is a digest', async () => {
    const url = lab.server.serve('/a.img', content);
    await lab.fetch(url);
    expect(await lab.fetch(url)).toMatchObject({ bytes: content.length, sha256: digest });
    expect(lab.server.requests.map(({ range }) => range)).toEqual([undefined, `bytes=${content.length}-`]);
    expect(await lab.fetch(url, { expected: { sha256: digest } })).toMatchObject({ bytes: content.length, sha256: digest });
    expect(lab.server.requests).toHaveLength(2);
  });

  it('that is complete is replaced by a newer file', async () => {
    const url = lab.server.serve('/a.img', content);
    await lab.fetch(url);
    const newer = imageContent(1_000_000, 'newer');
    lab.server.serve('/a.img', newer);
    expect(await lab.fetch(url)).toMatchObject({ bytes: newer.length, sha256: sha256(newer) });
    lab.server.serve('/a.img', { content: newer, faults: [{ kind: 'status', status: 416, headers: { 'content-range': 'bytes */5' } }] });
    expect(await lab.fetch(url)).toMatchObject({ sha256: sha256(newer) });
  });
});

describe('two runs', () => {
  it('download a file once, and the second one says that it waits', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const url = lab.server.serve('/a.img', { content, faults: [{ kind: 'hold', after: 15_000_000, until: held }] });
    const first = start(url, digest);
    await until('the first request', async () => lab.server.count('/a.img') === 1);
    const second = start(url, digest);
    const waits = new Promise<string>((resolve) => second.stderr?.once('data', (data) => resolve(String(data))));
    expect(await waits).toMatch(
      new RegExp(`^Waiting for the download of ${url}, locked by "cowherd base pull" \\(pid ${first.pid}, since `),
    );
    release();
    for (const { stdout } of await Promise.all([first, second])) expect(JSON.parse(stdout)).toMatchObject({ sha256: digest });
    expect(lab.server.requests).toHaveLength(1);
    expect((await lab.files()).filter((name) => name.endsWith('.lock'))).toEqual([]);
  });

  it('wait as long as the policy says', async () => {
    const url = lab.server.serve('/a.img', content);
    const impatient = new HttpDownloads(lab.store, { waitSeconds: 0 });
    await lab.downloads.locked(url, async () => {
      await expect(impatient.locked(url, async () => undefined)).rejects.toMatchObject({ code: 'LOCKED' });
    });
    expect(await impatient.locked(url, async () => 'free')).toBe('free');
  });
});

describe('leftovers', () => {
  it('of a run that was killed while it wrote its record are removed by the next one', async () => {
    const url = lab.server.serve('/a.img', content);
    await lab.fetch(url);
    const files = await lab.files();
    const record = files.find((name) => name.endsWith('.json')) ?? '';
    await writeFile(temporaryOf(join(lab.store, 'downloads', record)), '');
    await lab.downloads.locked(url, () => lab.fetch(url));
    expect(await lab.files()).toEqual(files);
  });

  it('are counted and removed, except those that a run holds', async () => {
    const [kept, other] = ['/a.img', '/b.img'].map((path) => lab.server.serve(path, content)) as [string, string];
    await lab.fetch(other);
    await lab.fetch(kept);
    // Left by a run that was killed while it wrote its first record.
    await writeFile(temporaryOf(join(lab.store, 'downloads', 'fedcba9876543210.json')), '');
    const count = (options: { remove: boolean }) => lab.downloads.leftovers(options);
    expect(await count({ remove: false })).toMatchObject({ files: 2 });
    await lab.downloads.locked(kept, async () => {
      const { files, bytes } = await count({ remove: true });
      expect(files).toBe(1);
      expect(bytes).toBeGreaterThan(10_000_000);
    });
    expect((await lab.files()).map((name) => name.replace(/^\w{16}/, 'KEY'))).toEqual(['KEY.json', 'KEY.part']);
    await count({ remove: true });
    expect(await lab.files()).toEqual([]);
    expect(await count({ remove: true })).toEqual({ files: 0, bytes: 0 });
  });
});
