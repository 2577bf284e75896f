import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileServer } from '../../support/download/file-server.js';
import { digest, filesOf, partBytes } from '../../support/download/store-files.js';
import { Lab, until } from '../../support/lab.js';
import { SmallStore } from '../../support/small-store.js';

describe('base pull, interrupted', () => {
  const lab = Lab.use();
  let server: FileServer;
  let content: Buffer;

  beforeAll(async () => {
    server = await FileServer.start();
    content = await readFile(await lab.golden('golden.qcow2', { filledMiB: 8 }));
  });
  afterAll(() => server.close());

  it('downloads once if two runs pull the same image', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const url = server.serve('/shared.qcow2', { content, faults: [{ kind: 'hold', after: 100_000, until: held }] });
    const first = lab.begin('base', 'pull', url, '--json');
    await until('the download to begin', async () => server.count('/shared.qcow2') === 1);
    const second = lab.begin('base', 'pull', url, '--json');
    let told = '';
    second.stderr?.on('data', (chunk) => {
      told += String(chunk);
    });
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    release();
    const [one, two] = [await first, await second];
    expect([one.exitCode, two.exitCode], told).toEqual([0, 0]);
    expect(JSON.parse(String(two.stdout))).toMatchObject({ how: 'already there', downloadedBytes: 0 });
    expect(server.count('/shared.qcow2')).toBe(1);
    await lab.ok('base', 'remove', 'shared');
  });

  it('continues a download after kill -9 and after Ctrl-C', async () => {
    const url = server.serve('/large.qcow2', {
      content,
      etag: '"1"',
      faults: [
        { kind: 'stall', after: 3_000_000 },
        { kind: 'stall', after: 2_000_000 },
      ],
    });
    for (const signal of ['SIGKILL', 'SIGINT'] as const) {
      const before = server.count('/large.qcow2');
      const run = lab.begin('base', 'pull', url);
      await until('a part on disk', async () => server.count('/large.qcow2') > before && (await partBytes(lab)) >= 2_000_000);
      await new Promise((resolve) => setTimeout(resolve, 500));
      run.kill(signal);
      const { exitCode } = await run;
      if (signal === 'SIGINT') expect(exitCode).toBe(130);
    }
    expect(await lab.ok('base', 'pull', url, '--sha256', digest('sha256', content))).toMatchObject({ digest: digest('sha256', content) });
    expect(server.requests.filter(({ path }) => path === '/large.qcow2').at(-1)?.range).toMatch(/^bytes=[1-9]\d*-$/);
    await lab.ok('base', 'remove', 'large');
    expect(await filesOf(lab)).toEqual([]);
  });

  it('removes the part of a download with base prune', async () => {
    const url = server.serve('/part.qcow2', { content, faults: [{ kind: 'stall', after: 3_000_000 }] });
    const run = lab.begin('base', 'pull', url);
    await until('a part on disk', async () => (await partBytes(lab)) >= 2_000_000);
    expect(await lab.ok('base', 'prune')).toMatchObject({ downloads: { files: 0 } });
    run.kill('SIGKILL');
    await run;
    await lab.unlocked();
    expect(await lab.ok('base', 'prune')).toMatchObject({ downloads: { files: 1 } });
    await lab.ok('base', 'prune', '--yes');
    expect(await filesOf(lab)).toEqual([]);
  });
});

describe('base pull on a full disk', () => {
  it('refuses before or while it downloads and unpacks, and leaves nothing', async () => {
    const lab = await Lab.open({ isProbed: false });
    const server = await FileServer.start();
    const small = await SmallStore.mount(lab, 16 * 1024);
    try {
      const golden = await readFile(await lab.golden('golden.qcow2', { filledMiB: 12 }));
      await small.leave(8 * 1024);
      const known = server.serve('/known.qcow2', golden);
      const unknown = server.serve('/unknown.qcow2', { content: golden, always: { kind: 'chunked' } });
      for (const url of [known, unknown]) {
        const refused = await lab.answer('base', 'pull', url);
        expect(refused).toMatchObject({
          exitCode: 3,
          json: { error: { code: 'PREFLIGHT_FAILED', hint: expect.stringContaining('cowherd base prune') } },
        });
        expect(await filesOf(lab)).toEqual([]);
      }
      // Room for the download, but not for what is unpacked from it.
      await small.leave(14 * 1024);
      const packed = await execa('xz', ['-0kc', join(lab.scratch, 'golden.qcow2')], { encoding: 'buffer' });
      const refused = await lab.answer('base', 'pull', server.serve('/packed.qcow2.xz', Buffer.from(packed.stdout)));
      expect(refused).toMatchObject({ exitCode: 3, json: { error: { code: 'PREFLIGHT_FAILED' } } });
      expect(await filesOf(lab)).toEqual([]);
      await small.release();
      expect((await lab.ok('base', 'pull', known)).digest).toBe(digest('sha256', golden));
    } finally {
      await small.unmount();
      await server.close();
      await lab.close();
    }
  });
});
