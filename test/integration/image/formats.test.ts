import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildGolden } from '../../../scripts/golden.js';
import { BaseDirectory } from '../../../src/adapters/image/base-store.js';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import type { ImportProgress } from '../../../src/core/progress.js';
import type { ImportRequest } from '../../../src/ports/bases.js';

/** Images as they are published: each becomes a base image with the content of the original. */

let dir: string;
let store: BaseDirectory;
const at = (...parts: string[]): string => join(dir, ...parts);
const run = (command: string) => execa('bash', ['-ec', command], { cwd: dir });
const add = (name: string, more: Partial<ImportRequest> = {}) => store.import({ path: at(name), name: 'base', trustChain: false, ...more });
const leftovers = async (): Promise<string[]> =>
  (await readdir(at('store'), { recursive: true })).filter((name) => /partial|unrecorded/.test(name));

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cwt-formats-'));
  store = new BaseDirectory(at('store'), new QemuImg());
  await buildGolden(at('golden.qcow2'), { filledMiB: 2, virtualMiB: 16 });
  await run('qemu-img convert -O raw golden.qcow2 golden.raw; cp golden.raw box.img; qemu-img convert -O vmdk golden.qcow2 disk1.vmdk');
  for (const [name, text] of [
    ['app.ovf', '<?xml version="1.0"?><Envelope/>'],
    ['app.mf', 'SHA256(app.ovf)= 00\n'],
    ['metadata.json', '{"provider": "libvirt", "format": "raw", "virtual_size": 1}'],
    ['Vagrantfile', 'Vagrant.configure("2") {}\n'],
  ] as const)
    await writeFile(at(name), text.padEnd(600));
});
afterEach(async () => {
  for (const base of (await store.list()).bases) await store.remove(base);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const compressions = [
  ['gz', 'gzip', 'gzip -c'],
  ['xz', 'xz', 'xz -c'],
  ['zst', 'zstd', 'zstd -qc'],
  ['bz2', 'bzip2', 'bzip2 -c'],
] as const;

const files: Array<[make: string, name: string, steps: string[]]> = [
  ...compressions.flatMap(([ending, kind, tool]): typeof files => [
    [`${tool} golden.qcow2 > image`, `golden.qcow2.${ending}`, [kind]],
    [`${tool} golden.raw > image`, `golden.raw.${ending}`, [kind]],
    [`tar -c golden.qcow2 | ${tool} > image`, `golden.tar.${ending}`, [kind, 'tar']],
  ]),
  ['tar -cf image golden.qcow2', 'golden.tar', ['tar']],
  ['tar --format=pax -cf image ./golden.raw', 'golden-pax.tar', ['tar']],
  ['tar --format=gnu -cf image golden.raw', 'golden-gnu.tar', ['tar']],
  ['tar --format=ustar -cf image golden.raw', 'golden-ustar.tar', ['tar']],
  ['tar -cf image app.ovf app.mf disk1.vmdk', 'app.ova', ['tar', 'vmdk']],
  ['gzip -c disk1.vmdk > disk1.vmdk.gz; tar -cf image app.ovf disk1.vmdk.gz app.mf', 'compressed.ova', ['tar', 'gzip', 'vmdk']],
  ['tar -czf image ./metadata.json ./Vagrantfile ./box.img', 'libvirt.box', ['gzip', 'tar']],
  ['tar -czf image app.ovf Vagrantfile disk1.vmdk', 'virtualbox.box', ['gzip', 'tar', 'vmdk']],
  ['cp disk1.vmdk image', 'monolithic.vmdk', ['vmdk']],
  ['qemu-img convert -O vmdk -o subformat=streamOptimized golden.qcow2 image', 'stream.vmdk', ['vmdk']],
  ['qemu-img convert -O vpc -o force_size=on golden.qcow2 image', 'dynamic.vhd', ['vhd']],
  ['qemu-img convert -O vpc -o subformat=fixed,force_size=on golden.qcow2 image', 'fixed.vhd', ['vhd']],
  [
    'qemu-img convert -O vpc -o subformat=fixed,force_size=on golden.qcow2 image; xz image; mv image.xz image',
    'fixed.vhd.xz',
    ['xz', 'vhd'],
  ],
  ['qemu-img convert -O vhdx golden.qcow2 image', 'dynamic.vhdx', ['vhdx']],
  ['qemu-img convert -O vhdx -o subformat=fixed golden.qcow2 image', 'fixed.vhdx', ['vhdx']],
  ['qemu-img convert -O vdi golden.qcow2 image', 'dynamic.vdi', ['vdi']],
  ['qemu-img convert -O vdi -o static=on golden.qcow2 image', 'fixed.vdi', ['vdi']],
];

describe('an image as it is published', () => {
  it.each(files)('%s: %s', async (make, name, steps) => {
    await run(make);
    // The name says nothing.
    await run('mv -f image image.bin');
    const { base, how } = await add('image.bin');
    const isConverted = /^(vmdk|vhdx?|vdi)$/.test(steps.at(-1) ?? '');
    expect([name, how]).toEqual([name, isConverted ? 'converted' : 'unpacked']);
    expect(base.virtualBytes).toBe(16 * 1024 ** 2);
    await execa('qemu-img', ['compare', '-f', 'qcow2', '-F', base.format, at('golden.qcow2'), base.path]);
    expect(base.format).toBe(/raw|box\.img/.test(make) && !isConverted ? 'raw' : 'qcow2');
    expect(await store.digest(base)).toBe(base.digest);
    expect((await stat(base.path)).mode & 0o337).toBe(0);
    expect(await leftovers()).toEqual([]);
    // The same file again is not unpacked.
    const seen: ImportProgress[] = [];
    expect((await add('image.bin', { onProgress: (progress) => seen.push(progress) })).how).toBe('already there');
    expect(seen).toEqual([]);
  });

  it('has its own name for its base image, and its original as the source', async () => {
    await run('xz -kf golden.qcow2');
    const { base } = await store.import({ path: at('golden.qcow2.xz'), trustChain: false });
    expect(base).toMatchObject({ name: 'golden', source: { path: at('golden.qcow2.xz') } });
    // The unpacked file is the same image.
    expect((await store.import({ path: at('golden.qcow2'), trustChain: false })).how).toBe('already there');
  });

  it('stays sparse, and reports how far it is by what was read', async () => {
    await run('truncate -s 200M holes.raw; dd if=golden.raw of=holes.raw conv=notrunc status=none; gzip -kf holes.raw');
    const seen: ImportProgress[] = [];
    const { base } = await add('holes.raw.gz', { onProgress: (progress) => seen.push(progress) });
    expect(base.allocatedBytes).toBeLessThan(8 * 1024 ** 2);
    const { size } = await stat(at('holes.raw.gz'));
    expect(seen.length).toBeGreaterThan(5);
    for (const { what, doneBytes, totalBytes } of seen) {
      expect([what, totalBytes]).toEqual(['unpacking holes.raw.gz', size]);
      expect(doneBytes).toBeLessThanOrEqual(size);
    }
  });

  it('of several disks in an archive, is the one that is named', async () => {
    await mkdir(at('tree', 'b'), { recursive: true });
    await run('cp golden.raw tree/one.img; cp golden.qcow2 tree/b/two.qcow2; cp golden.raw tree/b/one.img; tar -C tree -czf two.tgz .');
    const error = await add('two.tgz').catch((reason) => reason);
    expect(error).toMatchObject({ code: 'BASE_REFUSED', message: `${at('two.tgz')} contains 3 disks` });
    expect([...error.details].sort()).toEqual(['./b/one.img', './b/two.qcow2', './one.img']);
    // The hint works.
    const [, disk = ''] = /^Name one: cowherd base add \S+ --disk (\S+)$/.exec(error.hint) ?? [];
    expect((await add('two.tgz', { disk })).how).toBe('unpacked');
    const { base } = await add('two.tgz', { disk: 'two.qcow2' });
    expect(base.format).toBe('qcow2');
    // The whole name counts before a name in a directory.
    expect((await add('two.tgz', { disk: 'one.img' })).base.format).toBe('raw');
    await expect(add('two.tgz', { disk: 'three.img' })).rejects.toMatchObject({ message: `${at('two.tgz')} contains no file three.img` });
    await rm(at('tree', 'one.img'));
    await run('mkdir tree/c; cp golden.raw tree/c/one.img; tar -C tree -czf two.tgz .');
    await expect(add('two.tgz', { disk: 'one.img' })).rejects.toMatchObject({
      message: `${at('two.tgz')} contains 2 files with the name one.img`,
    });
    expect(await leftovers()).toEqual([]);
  });

  it('is predicted without unpacking it', async () => {
    const preview = (name: string, format?: 'raw') => store.preview({ path: at(name), name: 'base', trustChain: false, format });
    await run('xz -kf golden.qcow2; qemu-img convert -O vpc -o subformat=fixed,force_size=on golden.qcow2 fixed.vhd');
    expect(await preview('golden.qcow2.xz')).toMatchObject({ how: 'unpacked', isDigestKnown: false });
    expect(await preview('fixed.vhd')).toMatchObject({ how: 'converted', isDigestKnown: false, base: { virtualBytes: 16 * 1024 ** 2 } });
    await expect(preview('disk1.vmdk', 'raw')).rejects.toMatchObject({
      message: `${at('disk1.vmdk')} is in the format vmdk, not raw as --format says`,
    });
    // A raw disk may end like a VHD.
    expect(await preview('fixed.vhd', 'raw')).toMatchObject({ how: 'copied', base: { format: 'raw' } });
    await add('golden.qcow2.xz');
    expect(await preview('golden.qcow2.xz')).toMatchObject({ how: 'already there', isDigestKnown: true });
  });

  it('whose tool is missing names its package', async () => {
    await run('zstd -qf golden.qcow2');
    const path = process.env.PATH;
    await mkdir(at('bin'), { recursive: true });
    await run('ln -sf "$(command -v qemu-img)" bin/');
    process.env.PATH = at('bin');
    try {
      await expect(add('golden.qcow2.zst')).rejects.toMatchObject({
        code: 'TOOL_MISSING',
        hint: expect.stringContaining('apt-get install zstd'),
      });
    } finally {
      process.env.PATH = path;
    }
    expect(await leftovers()).toEqual([]);
  });

  it('is given up at once when the command is canceled, with the tool', async () => {
    await run('head -c 9M /dev/urandom | xz -0 -c > noise.xz');
    const controller = new AbortController();
    const work = add('noise.xz', { signal: controller.signal, onProgress: () => controller.abort() });
    await expect(work).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(await leftovers()).toEqual([]);
    const { stdout } = await execa('ps', ['--ppid', String(process.pid), '-o', 'comm=']);
    expect(stdout.split('\n')).not.toContain('xz');
  });

  it('is not changed by options in the environment of the tools', async () => {
    await run('xz -kf golden.qcow2; bzip2 -kf golden.qcow2');
    Object.assign(process.env, { XZ_OPT: '--memlimit=1', BZIP2: '--no-such-option' });
    try {
      for (const name of ['golden.qcow2.xz', 'golden.qcow2.bz2']) expect((await add(name)).base.format).toBe('qcow2');
    } finally {
      delete process.env.XZ_OPT;
      delete process.env.BZIP2;
    }
  });
});

describe('a download', () => {
  const pulled = (url: string, sha256: string) => ({
    ...{ url, sha256, bytes: 1, pulledAt: '2026-11-27T00:00:00.000Z', verifiedBy: 'list' as const },
  });
  const sha256Of = async (name: string): Promise<string> => (await execa('sha256sum', [at(name)])).stdout.slice(0, 64);
  const receive = async (name: string, url: string, more: Partial<ImportRequest> = {}) => {
    await run(`mkdir -p store/downloads; cp ${name} store/downloads/part`);
    return add('store/downloads/part', { download: { pulled: pulled(url, await sha256Of(name)) }, ...more });
  };

  it('is moved into the store and not read again', async () => {
    const { base, how } = await receive('golden.qcow2', 'https://example.org/golden.qcow2?x', {
      name: undefined,
      defaults: { firmware: 'uefi' },
    });
    const sha256 = await sha256Of('golden.qcow2');
    expect(how).toBe('moved');
    expect(base).toMatchObject({
      ...{ name: 'golden', digest: sha256, defaults: { firmware: 'uefi' } },
      source: { path: 'https://example.org/golden.qcow2?x', fingerprint: `https://example.org/golden.qcow2?x ${sha256}` },
      pulled: { sha256, verifiedBy: 'list', unpacked: [] },
    });
    expect((await readFile(base.path)).equals(await readFile(at('golden.qcow2')))).toBe(true);
    expect(await readdir(at('store', 'downloads'))).toEqual([]);
  });

  it('is unpacked, and its record says how and stays when the same image comes from elsewhere', async () => {
    await run('tar -cJf app.tar.xz disk1.vmdk');
    const url = 'https://example.org/app.tar.xz';
    const { base, how } = await receive('app.tar.xz', url, { defaults: { sshUser: 'debian' } });
    expect([how, base.pulled?.unpacked]).toEqual(['converted', ['xz', 'tar', 'vmdk']]);
    expect(await readdir(at('store', 'downloads'))).toEqual(['part']);
    // Again, with other facts about the file.
    const sha256 = base.pulled?.sha256 ?? '';
    const again = await add('store/downloads/part', { download: { pulled: { ...pulled(url, sha256), etag: '"2"' } } });
    expect(again).toMatchObject({ how: 'already there', base: { pulled: { etag: '"2"', unpacked: ['xz', 'tar', 'vmdk'] } } });
    expect(await store.find('base')).toMatchObject({ pulled: { etag: '"2"' }, defaults: { sshUser: 'debian' } });
  });

  it('of the same content from another URL replaces what is recorded; a file does not', async () => {
    await receive('golden.qcow2', 'https://example.org/a');
    const { how, base } = await receive('golden.qcow2', 'https://example.org/b');
    expect([how, base.pulled?.url]).toEqual(['already there', 'https://example.org/b']);
    expect(await readdir(at('store', 'downloads'))).toEqual(['part']);
    await add('golden.qcow2');
    expect(await store.find('base')).toMatchObject({ source: { path: at('golden.qcow2') }, pulled: { url: 'https://example.org/b' } });
    // Also if the image itself is replaced, because its file was changed.
    await execa('touch', [base.path]);
    await add('golden.qcow2');
    expect(await store.find('base')).toMatchObject({ pulled: { url: 'https://example.org/b' } });
  });

  it('that is refused is named by its URL', async () => {
    await writeFile(at('page'), '<!DOCTYPE html><html>'.padEnd(1024));
    await run('xz -kf page');
    const url = 'https://example.org/page.xz';
    await expect(receive('page.xz', url)).rejects.toMatchObject({ code: 'BASE_REFUSED', message: `page in ${url} is an HTML page` });
    await expect(receive('page', url)).rejects.toMatchObject({ message: `${url} is an HTML page` });
    await run('qemu-img create -q -u -f qcow2 -F raw -b /etc/passwd backed 1M');
    await expect(receive('backed', url, { trustChain: true })).rejects.toMatchObject({ message: `${url} has a backing file of its own` });
  });
});
