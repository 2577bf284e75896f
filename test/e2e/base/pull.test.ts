import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { FileServer } from '../../support/download/file-server.js';
import { isSameDisk, type Packed, packImage } from '../../support/download/packed-images.js';
import { digest, filesOf } from '../../support/download/store-files.js';
import { guest, Lab } from '../../support/lab.js';
import { isLong } from '../../support/long.js';
import { complaints, inTerminal } from '../../support/terminal/terminal.js';

describe('base pull', () => {
  const lab = Lab.use();
  let server: FileServer;
  let content: Buffer;
  let golden: string;

  beforeAll(async () => {
    server = await FileServer.start();
    golden = await lab.golden('golden.qcow2', { filledMiB: 8 });
    content = await readFile(golden);
  });
  afterAll(() => server.close());

  it('downloads an image once, and fleets run on it', async () => {
    const url = server.serve('/app-1.2.qcow2', content);
    // A URL is not a file: the hint downloads it.
    const hint = (await lab.answer('base', 'add', url)).json.error.hint;
    expect(hint).toBe(`Download it into the store: cowherd base pull ${url}`);
    const pulled = await lab.ok('base', 'pull', url, '--sha256', digest('sha256', content));
    expect(pulled).toMatchObject({ name: 'app-1-2', digest: digest('sha256', content), downloadedBytes: content.length });
    expect(pulled.pulled).toMatchObject({ url, verifiedBy: 'given digest', unpacked: [] });
    expect(await lab.ok('base', 'pull', url)).toMatchObject({ how: 'already there', downloadedBytes: 0 });
    const copy = await lab.ok('base', 'pull', url, '--as', 'copy');
    expect(copy).toMatchObject({ name: 'copy', digest: pulled.digest, downloadedBytes: 0, pulled: { url } });
    await lab.ok('base', 'remove', 'copy');
    expect(server.count('/app-1.2.qcow2')).toBe(1);
    const fleet = await lab.spawned('app', 'app-1-2', 1, '--wait', 'console=^OK');
    await lab.ok('teardown', fleet, '--with-base', '--yes');
    expect(await filesOf(lab)).toEqual([]);
  });

  it('says that nothing vouches for an image, or what does', async () => {
    const url = server.serve('/plain.qcow2', content);
    const bare = await lab.cowherd('base', 'pull', url, '--as', 'bare');
    expect(bare.stderr).toContain('Nothing vouches for this image');
    expect((await lab.cowherd('base', 'inspect', 'bare')).stdout).toContain('nothing vouches for it');
    const vouched = await lab.ok('base', 'pull', url, '--as', 'bare', '--sha256', digest('sha256', content));
    expect(vouched).toMatchObject({ how: 'already there', pulled: { verifiedBy: 'given digest' } });
    expect((await lab.ok('base', 'pull', url, '--as', 'bare')).notes).toEqual([]);
    // Both digests count, although only one of them is recorded.
    const both = ['--sha256', digest('sha256', content), '--sha512'];
    const half = await lab.answer('base', 'pull', url, '--as', 'bare', ...both, '0'.repeat(128));
    expect(half).toMatchObject({ exitCode: 7, json: { error: { message: expect.stringContaining('has the sha512') } } });
    expect(await lab.ok('base', 'pull', url, '--as', 'bare', ...both, digest('sha512', content))).toMatchObject({ how: 'already there' });
    const list = server.serve('/SHA512SUMS', `${'0'.repeat(128)}  other.qcow2\n${digest('sha512', content)}  plain.qcow2\n`);
    await lab.ok('base', 'remove', 'bare');
    const listed = await lab.ok('base', 'pull', url, '--as', 'listed', '--checksums', list);
    expect(listed.pulled).toMatchObject({ verifiedBy: 'list', list, sha512: digest('sha512', content) });
    await lab.ok('base', 'remove', 'listed');
  });

  it('refuses a wrong digest, a web page, and a list without the file, and leaves nothing', async () => {
    const url = server.serve('/wrong.qcow2', content);
    const page = server.serve('/page.qcow2', { content: Buffer.from('<!DOCTYPE html><html>'), contentType: 'text/html' });
    const list = server.serve('/SHA256SUMS', `${digest('sha256', content)}  other.qcow2\n`);
    for (const [words, told] of [
      [[url, '--sha256', 'f'.repeat(64)], /has the sha256 /],
      [[page], /web page/],
      [[url, '--checksums', list], /does not list wrong\.qcow2/],
    ] as const) {
      const refused = await lab.answer('base', 'pull', ...words, '--as', 'wrong');
      expect(refused).toMatchObject({ exitCode: 7, json: { error: { code: 'BASE_REFUSED', message: expect.stringMatching(told) } } });
    }
    expect((await lab.answer('base', 'pull', server.url('/none.qcow2'))).json.error).toMatchObject({ code: 'DOWNLOAD_FAILED' });
    expect((await lab.answer('base', 'pull', 'ftp://example.com/a.qcow2')).json.error).toMatchObject({ code: 'BAD_USAGE' });
    expect((await lab.answer('base', 'pull', 'no-such-image')).json.error).toMatchObject({ code: 'BASE_NOT_FOUND' });
    expect(await filesOf(lab)).toEqual([]);
  });

  it('updates an image under its name, and rebase moves fleets to it', async () => {
    const path = '/moving.qcow2';
    const url = server.serve(path, { content, etag: '"old"' });
    const old = await lab.ok('base', 'pull', url);
    const fleet = await lab.spawned('moving', 'moving', 1, '--start', '--wait', 'console=^OK');
    expect(await lab.ok('base', 'update', 'moving')).toMatchObject({ isNew: false, outdated: [] });
    const newer = await readFile(await lab.golden('newer.qcow2', { filledMiB: 9 }));
    server.serve(path, { content: newer, etag: '"new"' });
    const update = await lab.ok('base', 'update', 'moving');
    expect(update).toMatchObject({ isNew: true, name: 'moving', digest: digest('sha256', newer), previous: old.ref, outdated: [fleet] });
    const status = await lab.ok('status', fleet);
    expect(status.newerBase).toBe(update.ref);
    // The newer one is withdrawn, and its removal is what the message suggests.
    server.serve(path, { content, etag: '"old"' });
    const { stdout: told } = await lab.cowherd('base', 'update', 'moving');
    expect(told).toContain(`The server offers ${old.ref} again`);
    expect(told.replace(/\s+/g, ' ')).toContain(`until it is removed: cowherd base remove ${update.ref}`);
    server.serve(path, { content: newer, etag: '"new"' });
    expect(await lab.ok('base', 'update', old.ref)).toMatchObject({
      isNew: false,
      previous: old.ref,
      ref: update.ref,
      current: update.ref,
    });
    await lab.ok('rebase', fleet, '--base', 'moving', '--wait', 'console=^OK');
    expect(await lab.ok('base', 'update', 'moving')).toMatchObject({ isNew: false, outdated: [] });
    await lab.ok('teardown', fleet, '--yes');
    await lab.ok('base', 'prune', '--yes');
    expect((await lab.answer('base', 'update', 'moving')).json.error.code).toBe('BASE_NOT_FOUND');
  });

  it('finds images of a catalog, and spawn suggests or pulls them', async () => {
    server.serve('/images/thing-2.qcow2.xz', await packed());
    const list = server.serve('/images/SHA256SUMS', `${digest('sha256', await packed())}  thing-2.qcow2.xz\n`);
    const catalog = join(lab.scratch, 'catalog.yaml');
    const entry = { name: 'thing', title: 'Thing 2', aliases: ['stuff', 'stuff-2.0'], defaults: { memoryMiB: 16 } };
    const files = { x86_64: { url: server.url('/images/thing-*.qcow2.xz'), list: { url: list, hash: 'sha256' } } };
    await writeFile(catalog, JSON.stringify({ version: 1, updated: '2026-11-27', images: [{ ...entry, files }] }));
    const fleet = lab.fleet('thing');
    const words = ['spawn', fleet, '--base', 'thing', '--count', '1', ...guest, '--catalog', catalog];
    const missing = await lab.answer(...words);
    const command = `cowherd base pull thing --catalog ${catalog}`;
    expect(missing).toMatchObject({
      exitCode: 5,
      json: { error: { hint: `The catalog has it. Pull it first: ${command}. Or add --pull to this command.` } },
    });
    // These have no --pull.
    const fleetFile = join(lab.scratch, 'thing.yaml');
    await writeFile(fleetFile, JSON.stringify({ fleets: [{ name: fleet, image: { from: 'debian-12', run: ['true'] }, count: 1 }] }));
    for (const other of [
      ['base', 'prepare', 'debian-12', '--run', 'true', '--as', 'thing', '--dry-run'],
      ['spawn', '-f', fleetFile, '--dry-run'],
    ]) {
      const { hint } = (await lab.answer(...other)).json.error;
      expect(hint, other.join(' ')).toBe('The catalog has it. Pull it first: cowherd base pull debian-12');
    }
    const dry = await lab.answer(...words, '--pull', '--dry-run');
    expect(dry).toMatchObject({ exitCode: 5, json: { error: { hint: `A dry run downloads nothing. Pull it first: ${command}` } } });
    await lab.ok(...command.split(' ').slice(1));
    const by = (alias: string): string[] => words.map((word) => (word === 'thing' ? alias : word));
    for (const alias of ['stuff', 'stuff-2.0'])
      expect((await lab.ok(...by(alias), '--dry-run')).notes).toContain(`${alias} is thing in the catalog`);
    await lab.ok('base', 'remove', 'thing');
    expect((await lab.answer(...by('stuff-2.0'))).json.error.hint).toContain('Pull it first: cowherd base pull stuff-2.0 --catalog');
    expect((await lab.answer(...by('stuff-2.1'))).json.error.code).toBe('FILE_NOT_FOUND');
    const unknown = (await lab.answer('base', 'pull', 'debain-12')).json.error;
    expect(unknown.hint).toBe('Did you mean debian-12? To list all images: cowherd base catalog');
    expect((await lab.ok('base', 'catalog')).images.map((image: { name: string }) => image.name)).toContain('debian-12');
    const spawned = await lab.ok(...words, '--pull', '--wait', 'console=^OK');
    expect(spawned.notes.join('\n')).toContain(`pulled from ${server.url('/images/thing-2.qcow2.xz')}`);
    const [base] = (await lab.ok('base', 'list')).bases;
    expect(base.pulled).toMatchObject({ catalog: 'thing', verifiedBy: 'list', unpacked: ['xz'] });
    expect([base.pulled.catalogFile, base.defaults.memoryMiB]).toEqual([catalog, 16]);
    // From the same catalog, with what that says now.
    const richer = { ...entry, defaults: { memoryMiB: 17 } };
    await writeFile(catalog, JSON.stringify({ version: 1, updated: '2026-11-27', images: [{ ...richer, files }] }));
    expect(await lab.ok('base', 'update', 'thing')).toMatchObject({ isNew: false, defaults: { memoryMiB: 17 } });
    await lab.ok('teardown', fleet, '--with-base', '--yes');
    // A URL says nothing about the image, but the catalog does.
    await lab.ok('base', 'pull', server.url('/images/thing-2.qcow2.xz'), '--as', 'thing');
    await lab.ok('base', 'pull', 'thing', '--catalog', catalog);
    expect(await lab.ok('base', 'inspect', 'thing')).toMatchObject({ pulled: { catalog: 'thing' }, defaults: { memoryMiB: 17 } });
    await lab.ok('base', 'remove', 'thing');
  });

  it('takes each disk of an archive for another image', async () => {
    const [one, two] = [await lab.golden('one.qcow2', { filledMiB: 1 }), await lab.golden('two.qcow2', { filledMiB: 2 })];
    const archive = async (): Promise<Buffer> =>
      Buffer.from((await execa('tar', ['-C', lab.scratch, '-c', 'one.qcow2', 'two.qcow2'], { encoding: 'buffer' })).stdout);
    const url = server.serve('/disks.tar', await archive());
    const pulled = async (as: string, disk: string): Promise<string> =>
      (await lab.ok('base', 'pull', url, '--as', as, '--disk', disk)).digest;
    const digests = [digest('sha256', await readFile(one)), digest('sha256', await readFile(two))];
    expect(digests[0]).not.toBe(digests[1]);
    expect([await pulled('one', 'one.qcow2'), await pulled('two', 'two.qcow2')]).toEqual(digests);
    expect([await pulled('one', 'two.qcow2'), await pulled('copy', 'two.qcow2')]).toEqual([digests[1], digests[1]]);
    // A newer archive, too.
    await writeFile(two, await readFile(golden));
    server.serve('/disks.tar', await archive());
    expect(await lab.ok('base', 'update', 'two')).toMatchObject({ isNew: true, digest: digest('sha256', content) });
    for (const { ref } of (await lab.ok('base', 'list')).bases) await lab.ok('base', 'remove', ref);
  });

  it('shows its progress in a terminal, and leaves the result', async () => {
    const url = server.serve('/shown.qcow2', content);
    const remains = await inTerminal(lab, ['base', 'pull', url], { columns: 80, rows: 24 });
    expect(remains.exitCode, remains.text).toBe(0);
    expect(complaints(remains)).toEqual([]);
    expect(remains.text).toMatch(/base\s+shown@[0-9a-f]{12}/);
    expect(remains.text).toContain('Nothing vouches for this image');
    const failed = await inTerminal(lab, ['base', 'pull', server.url('/gone.qcow2')], { columns: 80, rows: 24 });
    expect(failed.exitCode).toBe(8);
    expect(complaints(failed)).toEqual([]);
    await lab.ok('base', 'remove', 'shown');
  });

  async function packed(): Promise<Buffer> {
    return Buffer.from((await execa('xz', ['-kc', golden], { encoding: 'buffer' })).stdout);
  }
});

describe('base pull of tiny Linux', () => {
  const lab = Lab.use();
  let server: FileServer;
  let made: readonly Packed[];
  const directory = (): string => join(lab.scratch, 'packed');

  beforeAll(async () => {
    server = await FileServer.start();
    made = await packImage(inject('tinyImage'), directory());
  });
  afterAll(() => server.close());

  // The others are tested with a smaller disk in test/integration/image/formats.test.ts.
  it('has the same content from every format', async () => {
    for (const { name, unpacked } of isLong ? made : made.filter((_, at) => at % 4 === 0)) {
      const url = server.serve(`/${name}`, await readFile(join(directory(), name)));
      const base = await lab.ok('base', 'pull', url, '--as', 'tiny');
      expect(base.pulled.unpacked, name).toEqual(unpacked);
      expect(await isSameDisk(inject('tinyImage'), base), name).toBe(true);
      await lab.ok('base', 'remove', base.ref);
    }
    expect(await filesOf(lab)).toEqual([]);
  });

  it('boots guests from a converted image', async () => {
    const url = server.serve('/box.ova', await readFile(join(directory(), 'box.ova')));
    await lab.ok('base', 'pull', url, '--as', 'box');
    const fleet = lab.fleet('box');
    await lab.ok('spawn', fleet, '--base', 'box', '--count', '1', '--memory', '128MiB', '--network', 'none', '--wait', 'agent');
    await lab.ok('teardown', fleet, '--with-base', '--yes');
  });
});
