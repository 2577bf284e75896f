import { createHash } from 'node:crypto';
import { appendFile, chmod, mkdtemp, open, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildGolden } from '../../../scripts/golden.js';
import { BaseDirectory } from '../../../src/adapters/image/base-store.js';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import { sealDifferences } from '../../../src/core/image/base.js';

/** Base images with real files and the real qemu-img. */
describe('the base store', () => {
  let dir: string;
  let store: BaseDirectory;
  const at = (...parts: string[]): string => join(dir, ...parts);
  const image = (name: string, ...args: string[]) => execa('qemu-img', ['create', '-q', '-f', 'qcow2', ...args, at(name), '1M']);
  const add = (name: string, more: Partial<Parameters<BaseDirectory['import']>[0]> = {}) =>
    store.import({ path: at(name), trustChain: false, ...more });
  const refusal = (name: string, more?: Parameters<typeof add>[1]) =>
    add(name, more).then(
      () => 'accepted',
      (error: Error & { code: string }) => `${error.code}: ${error.message}`,
    );

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cwt-base-'));
    store = new BaseDirectory(at('store'), new QemuImg());
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('imports once, seals, and recognizes the image by source and by content', async () => {
    await buildGolden(at('golden.qcow2'), { filledMiB: 4 });
    const { base, how } = await add('golden.qcow2');
    expect(['copied', 'reflinked']).toContain(how);
    expect(base.digest).toBe(
      createHash('sha256')
        .update(await readFile(at('golden.qcow2')))
        .digest('hex'),
    );
    expect((await stat(base.path)).mode & 0o777).toBe(0o400);
    expect(await store.digest(base)).toBe(base.digest);
    expect(base).toMatchObject({ name: 'golden', format: 'qcow2', virtualBytes: 64 * 1024 ** 2 });
    await execa('qemu-img', ['compare', at('golden.qcow2'), base.path]);

    expect((await add('golden.qcow2')).how).toBe('already there');
    await execa('cp', [at('golden.qcow2'), at('copy.qcow2')]);
    expect(await add('copy.qcow2', { name: 'golden' })).toMatchObject({ how: 'already there', base: { digest: base.digest } });
    expect((await store.list()).bases).toHaveLength(1);
    expect(await store.find('golden')).toMatchObject({ digest: base.digest });
    expect(await store.find(`golden@${base.digest.slice(0, 8)}`)).toMatchObject({ digest: base.digest });
    await expect(store.find('nonesuch')).rejects.toMatchObject({ code: 'BASE_NOT_FOUND', hint: expect.stringContaining('golden') });
    expect((await readdir(at('store', 'bases', 'golden'))).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it('keeps holes: a sparse raw disk takes only the space of its data', async () => {
    await buildGolden(at('big.raw'), { format: 'raw', filledMiB: 1, virtualMiB: 512 });
    const { base } = await add('big.raw');
    expect(base).toMatchObject({ format: 'raw', virtualBytes: 512 * 1024 ** 2 });
    expect(base.allocatedBytes).toBeLessThan(3 * 1024 ** 2);
    await execa('cmp', [at('big.raw'), base.path]);
  });

  it('keeps a newer image of the same name beside the older one', async () => {
    await buildGolden(at('golden.qcow2'), { filledMiB: 1 });
    const first = (await add('golden.qcow2')).base;
    await buildGolden(at('golden.qcow2'), { filledMiB: 1 });
    const second = (await add('golden.qcow2')).base;
    expect(second.digest).not.toBe(first.digest);
    expect((await store.find('golden')).digest).toBe(second.digest);
    expect(await store.get({ name: 'golden', digest: first.digest })).toMatchObject({ digest: first.digest });
  });

  it('refuses invalid images, and leaves nothing behind', async () => {
    await image('plain.qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', at('plain.qcow2'), at('chained.qcow2')]);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${at('data.raw')}`, at('external.qcow2'), '1M']);
    const luks = ['--object', 'secret,id=s,data=geheim', '-o', 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10'];
    // It benchmarks the CPU first, and fails on a busy one.
    for (let attempt = 1; ; attempt++) {
      const made = await execa('qemu-img', ['create', '-q', '-f', 'qcow2', ...luks, at('secret.qcow2'), '1M'], { reject: attempt > 20 });
      if (made.exitCode === 0) break;
    }
    await execa('qemu-img', ['create', '-q', '-f', 'qed', at('other.qed'), '1M']);
    await image('broken.qcow2');
    const handle = await open(at('broken.qcow2'), 'r+');
    // The refcount table now points outside the file.
    await handle.write(Buffer.from('0000000000ff0000', 'hex'), 0, 8, 48);
    await handle.close();
    await writeFile(at('empty.qcow2'), '');
    await writeFile(at('short.qcow2'), Buffer.from('514649fb00000003', 'hex'));
    await writeFile(at('text.qcow2'), 'not an image at all');

    expect(await refusal('chained.qcow2')).toMatch(/BASE_REFUSED: .*backing file/);
    expect(await refusal('external.qcow2')).toMatch(/BASE_REFUSED: .*external file/);
    expect(await refusal('secret.qcow2')).toMatch(/BASE_REFUSED: .*encrypted/);
    expect(await refusal('other.qed')).toMatch(/BASE_REFUSED: .*qed/);
    expect(await refusal('broken.qcow2')).toMatch(/BASE_REFUSED|TOOL_FAILED/);
    expect(await refusal('empty.qcow2')).toMatch(/BASE_REFUSED: .*empty/);
    expect(await refusal('short.qcow2')).toMatch(/BASE_REFUSED: .*no readable qcow2 header/);
    expect(await refusal('text.qcow2')).toMatch(/BASE_REFUSED: .*is a text file/);
    expect(await refusal('plain.qcow2', { format: 'raw' })).toMatch(/BASE_REFUSED: .*not raw/);
    expect(await refusal('missing.qcow2')).toMatch(/FILE_NOT_FOUND/);
    expect(await refusal('.')).toMatch(/BASE_REFUSED: .*is a directory/);
    expect((await store.list()).bases).toEqual([]);
    const left = await readdir(at('store'), { recursive: true }).catch(() => []);
    expect(left.filter((name) => /partial|qcow2/.test(name))).toEqual([]);
  });

  it('flattens a trusted chain', async () => {
    await buildGolden(at('golden.qcow2'), { filledMiB: 1 });
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', at('golden.qcow2'), at('chained.qcow2')]);
    const { base, how } = await add('chained.qcow2', { trustChain: true });
    expect(how).toBe('flattened');
    await rm(at('golden.qcow2'));
    const { stdout } = await execa('qemu-img', ['info', '--output=json', base.path]);
    expect(JSON.parse(stdout)['backing-filename']).toBeUndefined();
  });

  it('refuses an image that a running guest writes to', async () => {
    await image('busy.qcow2');
    const writer = execa('qemu-io', ['-f', 'qcow2', '-c', 'sleep 5000', at('busy.qcow2')], { reject: false });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await refusal('busy.qcow2')).toMatch(/BASE_REFUSED: .*in use: it is open in qemu-io \(pid \d+\)/);
    writer.kill('SIGKILL');
    await writer;
  });

  it('detects every kind of change, and accepts the original again', async () => {
    await buildGolden(at('golden.qcow2'), { filledMiB: 1 });
    const { base } = await add('golden.qcow2');
    const seen = async (): Promise<string> => sealDifferences(base.seal, await store.seal(base)).join();
    expect(await seen()).toBe('');
    await chmod(base.path, 0o644);
    await appendFile(base.path, 'x');
    expect(await seen()).toMatch(/size/);
    await truncate(base.path, base.seal.size);
    await utimes(base.path, 1, 1);
    expect(await seen()).toMatch(/time/);
    await rm(base.path);
    expect(await seen()).toBe('the file is missing');
    await writeFile(base.path, 'another file');
    expect(await seen()).not.toBe('');

    const mended = (await add('golden.qcow2')).base;
    expect(mended.digest).toBe(base.digest);
    expect(sealDifferences(mended.seal, await store.seal(mended))).toEqual([]);
    expect(await store.digest(mended)).toBe(base.digest);
    await store.remove(mended);
    expect((await store.list()).bases).toEqual([]);
  });

  it('lists the others if a record is damaged', async () => {
    await image('a.qcow2');
    await image('b.qcow2');
    const { base } = await add('a.qcow2');
    await add('b.qcow2');
    await writeFile(base.path.replace('.qcow2', '.json'), '{');
    const { bases, damaged } = await store.list();
    expect(bases.map((item) => item.name)).toEqual(['b']);
    expect(damaged[0]?.path).toContain('/a/');
    // As the hint says, importing it again repairs it.
    expect(await add('a.qcow2')).toMatchObject({ base: { digest: base.digest } });
    expect(await store.list()).toMatchObject({ bases: [{ name: 'a' }, { name: 'b' }], damaged: [] });
  });

  it('records how a promoted image was prepared, also if the store has its content already', async () => {
    await buildGolden(at('golden.qcow2'), { filledMiB: 1 });
    const { base } = await add('golden.qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base.path, at('overlay.qcow2')]);
    const promotedFrom = { fleet: 'web-prepare', member: 'web-prepare-001', base: { name: base.name, digest: base.digest } };
    const promote = (recipe: string) =>
      store.promote({
        ...{ overlay: at('overlay.qcow2'), base, name: 'web', layered: false, promotedFrom },
        prepared: { recipe: recipe.repeat(64), generalized: true },
      });
    const first = await promote('a');
    expect(first).toMatchObject({ how: 'flattened', base: { prepared: { recipe: 'a'.repeat(64), generalized: true } } });
    // Without the record of its source file.
    await utimes(at('overlay.qcow2'), 1, 1);
    for (const recipe of ['b', 'c']) expect(await promote(recipe)).toMatchObject({ how: 'already there' });
    expect((await store.find('web')).prepared).toEqual({ recipe: 'c'.repeat(64), generalized: true });
    // A repair by another import keeps it.
    await execa('cp', [first.base.path, at('web.qcow2')]);
    await rm(first.base.path);
    await add('web.qcow2');
    expect((await store.find('web')).prepared?.recipe).toBe('c'.repeat(64));
  });
});
