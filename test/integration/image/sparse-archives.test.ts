import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildGolden } from '../../../scripts/golden.js';
import { BaseDirectory } from '../../../src/adapters/image/base-store.js';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import type { ImportRequest } from '../../../src/ports/bases.js';

/** Archives that GNU tar made without the holes of the disks: `tar --sparse`, as vagrant-libvirt's create_box.sh does. */

let dir: string;
let store: BaseDirectory;
const MiB = 1024 ** 2;
const at = (...parts: string[]): string => join(dir, ...parts);
const run = (command: string) => execa('bash', ['-ec', command], { cwd: dir });
const add = (more: Partial<ImportRequest> = {}) => store.import({ path: at('image.box'), name: 'base', trustChain: false, ...more });

/** Copies a disk with its holes: GNU tar takes a file without holes as it is. */
const place = (disk: string, name = 'box.img') => run(`mkdir -p "box/$(dirname '${name}')"; cp --sparse=always ${disk} 'box/${name}'`);

/** A raw disk with that many pieces of data, each with a hole before it and other content. The hole at its end is large. */
async function writeDisk(name: string, pieces: number): Promise<void> {
  const bytes = Buffer.alloc(16 * MiB);
  for (let index = 0; index < pieces; index++) bytes.fill(`piece ${index} `, (2 * index + 1) * 8192, (2 * index + 2) * 8192);
  await writeFile(at(name), bytes);
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cwt-sparse-'));
  store = new BaseDirectory(at('store'), new QemuImg());
  await buildGolden(at('golden.qcow2'), { filledMiB: 2, virtualMiB: 16 });
  await run('qemu-img convert -O raw golden.qcow2 golden.raw');
  // The mapping of a qcow2 image has holes of its own.
  await run('qemu-img convert -O qcow2 -o preallocation=metadata golden.qcow2 holes.qcow2');
  for (const pieces of [0, 1, 3, 4, 5, 24, 25, 26, 300]) await writeDisk(`raw-${pieces}`, pieces);
  await writeFile(at('Vagrantfile'), 'Vagrant.configure("2") {}\n'.padEnd(600));
  await writeFile(at('metadata.json'), '{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}'.padEnd(600));
});
afterEach(async () => {
  for (const base of (await store.list()).bases) await store.remove(base);
  await run('rm -rf box image.box');
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const formats = [
  ['gnu', '--format=gnu'],
  ['posix', '--format=posix'],
  ['posix, with the map in the header', '--format=posix --sparse-version=0.1'],
  ['posix, with one record per piece', '--format=posix --sparse-version=0.0'],
] as const;
// Zeros count as holes, whatever the blocks of the file system are.
const create = 'tar -S --hole-detection=raw';

const boxes = formats.flatMap(([format, option]) =>
  ['golden.qcow2', 'holes.qcow2', 'golden.raw', 'raw-0', 'raw-1', 'raw-3', 'raw-4', 'raw-5', 'raw-24', 'raw-25', 'raw-26', 'raw-300'].map(
    (disk) => ({ format, option, disk }),
  ),
);

async function assertSame(path: string, disk: string): Promise<void> {
  await run(`cmp '${path}' ${disk}`);
  if (disk.endsWith('.qcow2')) await execa('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', path, at('golden.raw')]);
  expect((await readdir(at('store'), { recursive: true })).filter((name) => /partial|unrecorded/.test(name))).toEqual([]);
}

describe('a disk in a sparse archive', () => {
  it.each(boxes)('is imported with its content: $format, $disk', async ({ option, disk }) => {
    await place(disk);
    await run('cp metadata.json Vagrantfile box');
    // Other entries follow, so the end of the map must be known.
    await run(`${create} ${option} -C box -cf image.box ./metadata.json ./box.img ./Vagrantfile`);
    expect((await stat(at('image.box'))).size).toBeLessThan((await stat(at(disk))).size);
    const { base, how } = await add();
    expect(how).toBe('unpacked');
    expect(base.format).toBe(disk.endsWith('.qcow2') ? 'qcow2' : 'raw');
    expect(await store.digest(base)).toBe(base.digest);
    await assertSame(base.path, disk);
    if (disk.startsWith('raw')) expect(base.allocatedBytes).toBeLessThan(8 * MiB);
  });

  it.each(['gzip -c', 'xz -0c', 'cat'])('is imported from a box as vagrant-libvirt makes it, through %s', async (tool) => {
    await place('holes.qcow2');
    await run('cp metadata.json Vagrantfile box');
    await run(`cd box; tar cv -S --totals ./metadata.json ./Vagrantfile ./box.img | ${tool} > ../image.box`);
    await assertSame((await add()).base.path, 'holes.qcow2');
  });

  it('with a long name, or one that is not ASCII, is imported', async () => {
    for (const name of [`${'directory/'.repeat(15)}box.img`, 'bücher.img']) {
      for (const [, option] of formats) {
        await run('rm -rf box image.box');
        await place('raw-300', name);
        await run(`${create} ${option} -C box -cf image.box .`);
        await assertSame((await add({ disk: name })).base.path, 'raw-300');
      }
    }
  });

  it.each(formats)('is the one that is named, if there are several: %s', async (_format, option) => {
    await place('raw-300', 'one.img');
    await place('holes.qcow2', 'b/two.qcow2');
    await place('raw-26', 'b/one.img');
    await run(`${create} ${option} -C box -czf image.box one.img b/two.qcow2 b/one.img`);
    await expect(add()).rejects.toMatchObject({
      ...{ code: 'BASE_REFUSED', message: `${at('image.box')} contains 3 disks` },
      details: ['one.img', 'b/two.qcow2', 'b/one.img'],
    });
    await assertSame((await add({ disk: 'one.img' })).base.path, 'raw-300');
    await assertSame((await add({ disk: 'b/one.img' })).base.path, 'raw-26');
    await assertSame((await add({ disk: 'two.qcow2' })).base.path, 'holes.qcow2');
  });

  it.each(formats.slice(0, 2))('keeps a hole of a gigabyte: %s', async (_format, option) => {
    await place('raw-26');
    await run('truncate -s 1G box/box.img');
    await run(`tar -S --hole-detection=seek ${option} -C box -cf image.box box.img`);
    expect((await stat(at('image.box'))).size).toBeLessThan(17 * MiB);
    const { base } = await add();
    expect([base.virtualBytes, (base.allocatedBytes ?? 0) < 17 * MiB]).toEqual([1024 ** 3, true]);
    await run(`cmp '${base.path}' box/box.img`);
  });

  it('counts with its holes for the limit, and the option of the hint raises it', async () => {
    await place('raw-26');
    await run(`${create} -C box -cf image.box box.img`);
    const error = await add({ maxBytes: 8 * MiB }).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'BASE_REFUSED', message: expect.stringContaining('contains more than 8 MiB') });
    expect(error.hint).toContain('--max-size 1GiB');
    await assertSame((await add({ maxBytes: 1024 * MiB })).base.path, 'raw-26');
  });
});
