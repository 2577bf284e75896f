import { createHash } from 'node:crypto';
import { appendFile, chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildGolden } from '../../../scripts/golden.js';
import { BaseDirectory } from '../../../src/adapters/image/base-store.js';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import { type BaseImage, formatBaseRef } from '../../../src/core/image/base.js';
import { maxLayers, unreferencedBases } from '../../../src/core/image/base-chain.js';
import { defaultOverlayFormat } from '../../../src/core/image/overlay-format.js';
import type { ConvertRequest } from '../../../src/ports/images.js';
import { chainDifferences, verifiedBase } from '../../../src/services/fleet/access.js';

/** Layered base images, with real files and the real qemu-img. */
describe('layered base images', () => {
  let dir: string;
  let store: BaseDirectory;
  let golden: BaseImage;
  const images = new QemuImg();
  const at = (...parts: string[]): string => join(dir, ...parts);
  const io = (path: string, ...commands: string[]) =>
    execa('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path]);
  const same = (one: string, other: string) => execa('qemu-img', ['compare', one, other]);

  /** An overlay as a guest leaves it: its own pattern at 8 MiB, and zeros over the base image's data. */
  async function overlay(name: string, base: BaseImage, pattern: number): Promise<string> {
    const path = at(name);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', base.format, '-b', base.path, path]);
    await io(path, `write -P ${pattern} 8M 256k`, 'write -z 1M 128k');
    return path;
  }
  const promote = (name: string, path: string, base: BaseImage, layered: boolean) =>
    store.promote({
      overlay: path,
      base,
      name,
      layered,
      promotedFrom: { fleet: 'cwt-lab', member: 'cwt-lab-001', base: { name: base.name, digest: base.digest } },
    });
  const leftovers = async (): Promise<string[]> => (await readdir(at('store'), { recursive: true })).filter((name) => /partial/.test(name));

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cwt-layers-'));
    store = new BaseDirectory(at('store'), images);
    await buildGolden(at('golden.qcow2'), { filledMiB: 4 });
    golden = (await store.import({ path: at('golden.qcow2'), trustChain: false })).base;
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('promotes flattened or layered, sealed like an import, without changing the old image', async () => {
    const path = await overlay('o.qcow2', golden, 0x51);
    const [overlayBytes, goldenBytes] = [await readFile(path), await readFile(golden.path)];
    const flat = await promote('flat', path, golden, false);
    const layer = await promote('layer', path, golden, true);
    expect(flat).toMatchObject({ how: 'flattened', base: { backing: [], promotedFrom: { member: 'cwt-lab-001' } } });
    expect(layer).toMatchObject({ how: 'layered', base: { backing: [{ path: golden.path }], parent: { digest: golden.digest } } });
    for (const { base } of [flat, layer]) {
      expect((await stat(base.path)).mode & 0o777).toBe(0o400);
      expect(base.digest).toBe(
        createHash('sha256')
          .update(await readFile(base.path))
          .digest('hex'),
      );
      expect(base.source.path).toBe(path);
      await same(path, base.path);
      expect(await chainDifferences({ bases: store }, base)).toEqual([]);
    }
    expect(layer.base.allocatedBytes).toBeLessThan(1024 ** 2);
    expect(flat.base.allocatedBytes).toBeGreaterThan(3 * 1024 ** 2);
    expect(await images.info(layer.base.path, 'qcow2')).toMatchObject({ backing: { path: golden.path, format: 'qcow2' } });
    expect((await images.info(flat.base.path, 'qcow2')).backing).toBeUndefined();
    expect((await readFile(path)).equals(overlayBytes)).toBe(true);
    expect((await readFile(golden.path)).equals(goldenBytes)).toBe(true);
    expect(await leftovers()).toEqual([]);
    // A repeated promotion finds the existing image: by its source at once, otherwise by its content.
    expect((await promote('layer', path, golden, true)).how).toBe('already there');
    await execa('touch', [path]);
    expect((await promote('layer', path, golden, true)).how).toBe('already there');
    expect((await store.list()).bases).toHaveLength(3);
    // After a change, it is a newer image of that name.
    await io(path, 'write -P 0x52 9M 64k');
    const newer = await promote('layer', path, golden, true);
    expect(newer.base.digest).not.toBe(layer.base.digest);
    expect((await store.find('layer')).digest).toBe(newer.base.digest);
  });

  it('reads complete chains, and a fresh overlay on one is the same disk', async () => {
    let top = golden;
    let path = '';
    for (let layer = 2; layer <= maxLayers; layer++) {
      path = await overlay(`o${layer}.qcow2`, top, layer);
      await io(path, `write -P ${layer} ${10 + layer}M 64k`);
      top = (await promote(`l${layer}`, path, top, true)).base;
    }
    expect(top.backing.map((layer) => layer.name)).toEqual(['l3', 'l2', 'golden']);
    const bytes = await images.freshOverlay(top, at('fresh.qcow2'), defaultOverlayFormat);
    await writeFile(at('member.qcow2'), bytes);
    await same(path, at('member.qcow2'));
    expect(await images.isSameDisk({ path, format: 'qcow2' }, { path: at('member.qcow2'), format: 'qcow2' })).toBe(true);
    expect(await images.isSameDisk({ path, format: 'qcow2' }, { path: golden.path, format: 'qcow2' })).toBe(false);
    for (const found of [await store.find('l4'), await store.get(top), (await store.list()).bases.find(({ name }) => name === 'l4')])
      expect(found?.backing).toEqual(top.backing);

    // A broken seal in any layer is found and named.
    await chmod(golden.path, 0o644);
    await appendFile(golden.path, 'x');
    expect((await chainDifferences({ bases: store }, top)).join()).toContain(`${formatBaseRef(golden)}: size`);
    await expect(verifiedBase({ bases: store }, top)).rejects.toMatchObject({
      code: 'BASE_CHANGED',
      message: expect.stringContaining(formatBaseRef(golden)),
    });
  });

  it('reports a missing parent and a cycle, and lists the others', async () => {
    const layer = (await promote('layer', await overlay('o.qcow2', golden, 1), golden, true)).base;
    const record = (base: BaseImage): string => base.path.replace(/qcow2$/, 'json');
    const text = await readFile(record(golden), 'utf8');
    await rm(record(golden));
    await expect(store.get(layer)).rejects.toMatchObject({ code: 'BASE_CHANGED', message: expect.stringContaining('not in the store') });
    // Not even an older one of that name.
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', at('older.qcow2'), '1M']);
    const older = (await store.import({ path: at('older.qcow2'), trustChain: false, name: 'layer' })).base;
    const aged = { ...JSON.parse(await readFile(record(older), 'utf8')), importedAt: '2020-01-01T00:00:00.000Z' };
    await writeFile(record(older), JSON.stringify(aged));
    await expect(store.find('layer')).rejects.toMatchObject({ code: 'BASE_CHANGED' });
    await store.remove(older);
    const { bases, damaged } = await store.list();
    expect(bases).toEqual([]);
    expect(damaged).toEqual([{ path: layer.path, reason: expect.stringContaining(formatBaseRef(golden)) }]);

    await writeFile(record(golden), JSON.stringify({ ...JSON.parse(text), parent: { name: layer.name, digest: layer.digest } }));
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', at('other.qcow2'), '1M']);
    await store.import({ path: at('other.qcow2'), trustChain: false });
    await expect(store.get(golden)).rejects.toMatchObject({
      code: 'STATE_DAMAGED',
      message: expect.stringContaining('is based on itself'),
    });
    const circle = await store.list();
    expect(circle.bases.map(({ name }) => name)).toEqual(['other']);
    expect(circle.damaged).toHaveLength(2);
  });

  it('knows unused images, and in which order they can be removed', async () => {
    const two = (await promote('two', await overlay('o2.qcow2', golden, 2), golden, true)).base;
    const three = (await promote('three', await overlay('o3.qcow2', two, 3), two, true)).base;
    const { bases } = await store.list();
    const names = (used: string[], keepNewest = false): string[] =>
      unreferencedBases(bases, ({ name }) => used.includes(name), keepNewest).map(({ name }) => name);
    expect(names([])).toEqual(['three', 'two', 'golden']);
    expect(names(['two'])).toEqual(['three']);
    expect(names(['three'])).toEqual([]);
    expect(names([], true)).toEqual([]);
    for (const base of [three, two, golden]) await store.remove(base);
    expect((await store.list()).bases).toEqual([]);
  });

  it('removes what a crash left, and never imports partially', async () => {
    const path = await overlay('o.qcow2', golden, 1);
    await mkdir(at('store', 'bases', 'two'), { recursive: true });
    await writeFile(at('store', 'bases', 'two', '.import-1.partial'), 'torn');
    // The image got its name, but its record was not written.
    const lost = (await promote('lost', path, golden, false)).base;
    await rm(lost.path.replace(/qcow2$/, 'json'));
    await store.locked(() => promote('two', path, golden, false));
    expect((await promote('lost', path, golden, false)).base.digest).toBe(lost.digest);
    expect(await leftovers()).toEqual([]);
    const abort = new AbortController();
    abort.abort();
    const request = { overlay: path, base: golden, name: 'aborted', layered: false, signal: abort.signal };
    const promotedFrom = { fleet: 'cwt-lab', member: 'cwt-lab-001', base: { name: golden.name, digest: golden.digest } };
    await expect(store.promote({ ...request, promotedFrom })).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect((await readdir(at('store', 'bases'))).sort()).toEqual(['.lock', 'golden', 'lost', 'two']);
  });

  it('keeps an image private while a tool writes it', async () => {
    const modes: number[] = [];
    class Watched extends QemuImg {
      override async convert(request: ConvertRequest): Promise<void> {
        await super.convert(request);
        modes.push((await stat(request.target.path)).mode & 0o777);
      }
    }
    store = new BaseDirectory(at('store'), new Watched());
    const path = await overlay('o.qcow2', golden, 3);
    const umask = process.umask(0);
    try {
      const { base } = await promote('flat', path, golden, false);
      await promote('layer', path, golden, true);
      await store.import({ path, name: 'flattened', trustChain: true });
      // As left by an older version.
      await writeFile(at('out.qcow2.cowherd-partial'), 'torn', { mode: 0o666 });
      await store.export({ base, target: { path: at('out.qcow2'), format: 'qcow2' }, compress: false });
    } finally {
      process.umask(umask);
    }
    expect(modes).toEqual([0o600, 0o600, 0o600, 0o600]);
    expect((await stat(at('out.qcow2'))).mode & 0o777).toBe(0o600);
  });

  it('exports a chain to one file, atomically', async () => {
    const path = await overlay('o.qcow2', golden, 7);
    const { base } = await promote('layer', path, golden, true);
    const write = (name: string, format: 'qcow2' | 'raw' = 'qcow2', compress = false) =>
      store.export({ base, target: { path: at(name), format }, compress });
    const plain = await write('out.qcow2');
    await same(path, at('out.qcow2'));
    expect((await images.info(at('out.qcow2'), 'qcow2')).backing).toBeUndefined();
    await write('out.raw', 'raw');
    await execa('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', path, at('out.raw')]);
    expect(await write('small.qcow2', 'qcow2', true)).toBeLessThanOrEqual(plain);
    await same(path, at('small.qcow2'));

    await expect(write('out.qcow2')).rejects.toMatchObject({ code: 'BAD_USAGE', message: expect.stringContaining('already exists') });
    await expect(write('nowhere/out.qcow2')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await expect(write('store/out.qcow2')).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: expect.stringContaining('inside the store'),
    });
    await symlink(at('golden.qcow2'), at('linked.qcow2.cowherd-partial'));
    await expect(write('linked.qcow2')).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: expect.stringContaining('not a regular file'),
    });
    // Overwrites what a crash left.
    await writeFile(at('again.qcow2.cowherd-partial'), 'torn');
    await write('again.qcow2');
    await same(path, at('again.qcow2'));
    await rm(at('linked.qcow2.cowherd-partial'));
    expect((await readdir(dir)).filter((name) => name.includes('partial'))).toEqual([]);
  });
});
