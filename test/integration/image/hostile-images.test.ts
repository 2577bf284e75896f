import { copyFile, open, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { buildGolden } from '../../../scripts/golden.js';
import { readNamedBytes } from '../../../src/adapters/host/named-files.js';
import { CowherdError } from '../../../src/core/errors.js';
import { ImportLab } from '../../support/import-lab.js';

/** Untrusted images: each becomes a base image with the same content, or is refused with a reason, quickly. */

const GiB = 1024 ** 3;
const lab = ImportLab.here();
const create = (name: string, ...args: string[]) =>
  execa('qemu-img', ['create', '-q', ...args.slice(0, -1), lab.at(name), args.at(-1) ?? '']);
const qcow2 = (name: string, ...options: string[]) => create(name, '-f', 'qcow2', ...options, '4M');
const fill = (name: string, command = 'write -P 7 0 2M') => execa('qemu-io', ['-f', 'qcow2', '-c', command, lab.at(name)]);

/** Writes the golden image with some bytes changed. */
async function changed(name: string, place: number, hex: string): Promise<void> {
  const bytes = Buffer.from(lab.golden);
  bytes.write(hex, place, 'hex');
  await writeFile(lab.at(name), bytes);
}

/** The header that QEMU itself writes for a backing file of that name. */
const backed = (name: string, backing: string) =>
  execa('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', backing, lab.at(name), '4M']);

interface Hostile {
  what: string;
  make: (name: string) => Promise<unknown>;
  /** The message of the refusal; undefined for a valid image. */
  refused?: RegExp;
  format?: 'qcow2' | 'raw';
  /** The path, if it is not a file of the test. */
  path?: string;
  warning?: RegExp;
}

const extension = (type: string, length: string) => async (name: string) => {
  const bytes = Buffer.from(lab.golden);
  const headerLength = bytes.readUInt32BE(100);
  bytes.write(type + length, headerLength, 'hex');
  await writeFile(lab.at(name), bytes);
};

const table: Hostile[] = [
  { what: 'a wrong magic', make: (name) => changed(name, 0, '514649fa'), refused: /first bytes/ },
  { what: 'qcow version 1', make: (name) => changed(name, 4, '00000001'), refused: /no readable qcow2 header/ },
  { what: 'a version of the future', make: (name) => changed(name, 4, '00000004'), refused: /no readable qcow2 header/ },
  { what: 'a backing file', make: (name) => backed(name, '/etc/shadow'), refused: /backing file/ },
  {
    what: 'a raw disk that begins like a qcow2 image on /etc/shadow',
    make: (name) => backed(name, '/etc/shadow'),
    format: 'raw',
    refused: /not raw/,
  },
  {
    what: 'a backing file in json:',
    make: (name) => backed(name, 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}'),
    refused: /backing file/,
  },
  { what: 'a backing file at nbd:', make: (name) => backed(name, 'nbd://127.0.0.1:1/x'), refused: /backing file/ },
  {
    what: 'a data file inside its directory',
    make: (name) => qcow2(name, '-o', `data_file=${lab.at('data.raw')}`),
    refused: /external file/,
  },
  { what: 'a data file outside', make: (name) => changed(name, 72, '0000000000000004'), refused: /external file/ },
  { what: 'the mark of an encrypted one', make: (name) => changed(name, 32, '00000002'), refused: /encrypted/ },
  {
    what: 'LUKS without qcow2',
    make: (name) => writeFile(lab.at(name), Buffer.concat([Buffer.from('LUKS\xba\xbe', 'latin1'), Buffer.alloc(4090)])),
    format: 'raw',
    refused: /LUKS/,
  },
  { what: 'the mark of a dirty one', make: (name) => changed(name, 72, '0000000000000001'), refused: /not closed cleanly/ },
  { what: 'the mark of a corrupt one', make: (name) => changed(name, 72, '0000000000000002'), refused: /marked corrupt/ },
  { what: 'an unknown feature', make: (name) => changed(name, 72, '8000000000000000'), refused: /cannot be read as a disk|corrupt/ },
  { what: 'a disk of 2^63 bytes', make: (name) => changed(name, 24, '8000000000000000'), refused: /2 PiB/ },
  {
    what: 'a disk of 1 EiB with tables for it',
    make: (name) => create(name, '-f', 'qcow2', '-o', 'cluster_size=2M', '1E'),
    refused: /2 PiB/,
  },
  { what: 'a disk of zero bytes', make: (name) => changed(name, 24, '0000000000000000'), refused: /is an empty disk/ },
  { what: 'an L1 table behind its end', make: (name) => changed(name, 40, '0000000100000000'), refused: /ends before its tables/ },
  { what: 'an L1 table of 4 billion entries', make: (name) => changed(name, 36, 'ffffffff'), refused: /ends before its tables/ },
  { what: 'a refcount table behind its end', make: (name) => changed(name, 48, '0000000100000000'), refused: /corrupt|cannot be read/ },
  { what: 'clusters of 2^31 bytes', make: (name) => changed(name, 20, '0000001f'), refused: /cannot be read/ },
  { what: 'a header extension longer than the file', make: extension('e2792aca', 'ffffffff'), refused: /cannot be read/ },
  { what: 'an unknown extension that ends in another', make: extension('12345678', '00100000'), refused: /cannot be read/ },
  { what: 'a header that is said to be longer than a cluster', make: (name) => changed(name, 100, '7fffffff'), refused: /cannot be read/ },
  { what: 'four billion snapshots', make: (name) => changed(name, 60, 'ffffffff'), refused: /cannot be read|corrupt/ },
  ...['vmdk', 'vdi', 'vhdx', 'qed', 'vpc', 'parallels', 'qcow'].map((format) => ({
    what: `an image in the format ${format}`,
    make: (name: string) => create(name, '-f', format, '4M'),
    format: 'raw' as const,
    refused: format === 'qcow' ? /not raw/ : /in the format/,
  })),
  {
    what: 'gzip',
    make: (name) => writeFile(lab.at(name), Buffer.concat([Buffer.from('1f8b', 'hex'), Buffer.alloc(510)])),
    format: 'raw',
    refused: /gzip/,
  },
  { what: 'an empty file', make: (name) => writeFile(lab.at(name), ''), refused: /empty/ },
  ...[1, 511, 513].map((size) => ({
    what: `a raw disk of ${size} bytes`,
    make: (name: string) => writeFile(lab.at(name), Buffer.alloc(size, 1)),
    format: 'raw' as const,
    refused: /not a multiple of 512/,
  })),
  { what: 'a directory', make: (name) => execa('mkdir', [lab.at(name)]), refused: /is a directory/ },
  { what: 'a FIFO', make: (name) => execa('mkfifo', [lab.at(name)]), refused: /not a file/ },
  { what: 'a device', make: async () => undefined, path: '/dev/zero', refused: /not a file/ },
  { what: 'a link that leads nowhere', make: (name) => execa('ln', ['-s', '/nowhere/at/all', lab.at(name)]), refused: /no file/ },
  { what: 'a link to itself', make: (name) => execa('ln', ['-s', lab.at(name), lab.at(name)]), refused: /cannot be read: ELOOP/ },
  {
    what: 'a raw disk of 1 TiB of holes',
    make: async (name) => {
      await writeFile(lab.at(name), '');
      await truncate(lab.at(name), 1024 * GiB);
    },
    format: 'raw',
    refused: /on disk/,
  },
  { what: 'version 2', make: (name) => qcow2(name, '-o', 'compat=0.10').then(() => fill(name)) },
  { what: 'extended L2 entries', make: (name) => qcow2(name, '-o', 'extended_l2=on,cluster_size=128k').then(() => fill(name)) },
  { what: 'the smallest clusters', make: (name) => qcow2(name, '-o', 'cluster_size=512').then(() => fill(name)) },
  { what: 'metadata made beforehand', make: (name) => qcow2(name, '-o', 'preallocation=metadata') },
  { what: 'lazy refcounts', make: (name) => qcow2(name, '-o', 'lazy_refcounts=on').then(() => fill(name)) },
  ...['zlib', 'zstd'].map((kind) => ({
    what: `compressed with ${kind}`,
    make: (name: string) =>
      execa('qemu-img', [
        'convert',
        '-c',
        '-f',
        'qcow2',
        '-O',
        'qcow2',
        '-o',
        `compression_type=${kind}`,
        lab.at('golden.qcow2'),
        lab.at(name),
      ]),
  })),
  {
    what: 'internal snapshots',
    make: async (name) => {
      await qcow2(name);
      await fill(name);
      await execa('qemu-img', ['snapshot', '-c', 'one', lab.at(name)]);
      await fill(name, 'write -P 9 0 1M');
    },
  },
  {
    what: 'a dirty bitmap',
    make: (name) => qcow2(name).then(() => execa('qemu-img', ['bitmap', '--add', '-f', 'qcow2', lab.at(name), 'changes'])),
  },
  { what: 'a disk of 64 TiB', make: (name) => create(name, '-f', 'qcow2', '64T') },
  { what: 'nothing on it', make: (name) => qcow2(name) },
  { what: 'a raw disk with a boot sector', make: (name) => buildGolden(lab.at(name), { format: 'raw', virtualMiB: 1 }), format: 'raw' },
  {
    what: 'raw bytes of any kind',
    make: (name) => writeFile(lab.at(name), Buffer.alloc(4096, 'x')),
    format: 'raw',
    warning: /no boot sector/,
  },
];

describe('an untrusted image', () => {
  it.each(table)('$what', async ({ make, refused, format, path, warning }) => {
    const name = 'image.qcow2';
    await rm(lab.at(name), { recursive: true, force: true });
    await make(name);
    const result = await lab.add(path ?? name, format);
    if (refused !== undefined) {
      expect(result).toBeInstanceOf(CowherdError);
      expect((result as CowherdError).message).toMatch(refused);
      return;
    }
    if (result instanceof CowherdError) throw result;
    expect(result.warning ?? '').toMatch(warning ?? /^$/);
    await lab.assertSame(name, result);
    await lab.store.remove(result.base);
  });

  it('is refused if truncated anywhere', async () => {
    const { size } = await stat(lab.at('golden.qcow2'));
    const places = [1, 3, 4, 8, 71, 72, 103, 104, 511, 512, 4096, 65_535, 65_536, 65_537, 131_072, 196_608, 262_144, 262_145, 300_000];
    let refused = 0;
    for (const place of [...places, size - 65_536, size - 513, size - 511, size - 1]) {
      await copyFile(lab.at('golden.qcow2'), lab.at('cut.qcow2'));
      await truncate(lab.at('cut.qcow2'), place);
      const result = await lab.add('cut.qcow2');
      if (result instanceof CowherdError) refused++;
      else expect.fail(`cut at ${place} of ${size}, it was taken`);
    }
    expect(refused).toBeGreaterThan(20);
  });

  it('that changes while it is imported is refused, even if it is endless', async () => {
    await buildGolden(lab.at('grows.raw'), { format: 'raw', filledMiB: 30 });
    const before = (await readdir(lab.at('store'), { recursive: true })).sort();
    let grown = 0;
    const writer = await open(lab.at('grows.raw'), 'a');
    const onProgress = () => void (grown++ < 1000 && writer.write(Buffer.alloc(8 * 1024 ** 2, 1)).catch(() => undefined));
    const outcome = await lab.store
      .import({ path: lab.at('grows.raw'), name: 'hostile', trustChain: false, onProgress })
      .catch((error) => error);
    await writer.close();
    await rm(lab.at('grows.raw'));
    expect(outcome).toMatchObject({ code: 'BASE_REFUSED', message: expect.stringContaining('changed while') });
    // Only its original length was read, in steps of 4 MiB.
    expect(grown).toBeLessThanOrEqual(16);
    expect((await readdir(lab.at('store'), { recursive: true })).sort()).toEqual(before);
  });

  it('that refers to one table a million times takes no longer than others', async () => {
    // 8 TiB with the same L2 table in every entry of the L1 table, all of which qemu-img check would read.
    await create('bomb.qcow2', '-f', 'qcow2', '8T');
    const handle = await open(lab.at('bomb.qcow2'), 'r+');
    const head = Buffer.alloc(512);
    await handle.read(head, 0, 512, 0);
    const entries = head.readUInt32BE(36);
    const l2 = Math.ceil((await handle.stat()).size / 65_536) * 65_536;
    const l1 = Buffer.alloc(entries * 8);
    for (let index = 0; index < entries; index++) l1.writeBigUInt64BE(BigInt(l2) | (1n << 63n), index * 8);
    await handle.write(l1, 0, l1.length, Number(head.readBigUInt64BE(40)));
    await handle.truncate(l2 + 65_536);
    await handle.close();
    expect(await lab.add('bomb.qcow2')).toMatchObject({ code: 'BASE_REFUSED' });
  });

  it.each(['/dev/zero', '/dev', '.'])('is not a valid NVRAM either: %s', async (path) => {
    await expect(readNamedBytes(path === '.' ? lab.dir : path)).rejects.toMatchObject({ code: 'BAD_USAGE' });
  });
});
