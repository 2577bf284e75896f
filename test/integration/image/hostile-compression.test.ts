import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Hostile, HostileStore, MiB } from '../../support/hostile-store.js';

/** Compressed files that are made to do harm: each is refused with a reason, and nothing of it stays. */

let lab: HostileStore;
const at = (...parts: string[]): string => lab.at(...parts);
const run = (command: string) => lab.run(command);

beforeAll(async () => {
  lab = await HostileStore.create();
  await run(
    'truncate -s 300M zeros; for tool in gzip xz bzip2; do $tool -c golden.qcow2 > golden.$tool; done; zstd -qc golden.qcow2 > golden.zstd',
  );
});
afterAll(() => lab.remove());

const tools = [
  ['gzip', 'gzip -c'],
  ['xz', 'xz -0c'],
  ['zstd', 'zstd -qc'],
  ['bzip2', 'bzip2 -c'],
] as const;

const compressed: Hostile[] = tools.flatMap(([kind, tool]): Hostile[] => [
  {
    what: `a ${kind} bomb`,
    make: () => run(`${tool} zeros > image`),
    says: /contains more than 64 MiB, the limit/,
    request: { maxBytes: 64 * MiB },
  },
  {
    what: `a ${kind} bomb in itself`,
    make: () => run(`${tool} zeros | ${tool} > image`),
    says: /^image in .* contains more than 64 MiB, the limit/,
    request: { maxBytes: 64 * MiB },
  },
  {
    what: `a truncated ${kind} file`,
    make: async () => writeFile(at('image'), (await readFile(at(`golden.${kind}`))).subarray(0, -100)),
    says: new RegExp(`cannot be unpacked with ${kind}`),
  },
  {
    what: `a ${kind} file that ends after its magic`,
    make: async () => writeFile(at('image'), (await readFile(at(`golden.${kind}`))).subarray(0, 12)),
    says: new RegExp(`cannot be unpacked with ${kind}`),
  },
  {
    what: `a ${kind} file with other data behind it`,
    make: () => run(`cat golden.${kind} > image; echo other data >> image`),
    says: new RegExp(`cannot be unpacked with ${kind}: .*(trailing|corrupt|unexpected|unsupported|unknown|other data)`, 'i'),
  },
  {
    what: `a corrupt ${kind} file`,
    make: async () => {
      const bytes = await readFile(at(`golden.${kind}`));
      const middle = Math.floor(bytes.length / 2);
      bytes.fill(0x55, middle, middle + 64);
      await writeFile(at('image'), bytes);
    },
    says: new RegExp(`cannot be unpacked with ${kind}`),
  },
]);

const nested: Hostile[] = [
  {
    what: 'gzip in gzip in gzip in gzip',
    make: () => run('gzip -c golden.qcow2 | gzip -c | gzip -c | gzip -c > image'),
    says: /packed more than 3 times/,
  },
  {
    what: 'tar in tar in tar in tar',
    make: () => run('cp golden.qcow2 0.tar; for i in 1 2 3 4; do tar -cf $i.tar $((i - 1)).tar; done; mv 4.tar image; rm ?.tar'),
    says: /packed more than 3 times/,
  },
  {
    what: 'a tar of a tar.xz.gz',
    make: () => run('tar -cJf a.tar.xz golden.qcow2; gzip -c a.tar.xz > a.gz; tar -cf image a.gz'),
    says: /packed more than 3/,
  },
  { what: 'xz that needs too much memory', make: () => run('xz --lzma2=preset=0,dict=1GiB -c golden.qcow2 > image'), says: /memory/i },
  { what: 'zstd that needs too much memory', make: () => run('zstd -q --ultra --long=31 -c < zeros > image'), says: /memory|window/i },
];

describe('a hostile compressed file', () => {
  it.each([...compressed, ...nested])('is refused: $what', (hostile) => lab.assertRefused(hostile));

  it('that is only large is accepted with the option of the hint', async () => {
    await run('qemu-img convert -O raw golden.qcow2 golden.raw; xz -c golden.raw > image');
    const error = await lab.refusal({ maxBytes: MiB });
    expect(error.hint).toBe(`If you trust it, raise the limit: cowherd base add ${at('image')} --max-size 1GiB`);
    const { base } = await lab.add({ maxBytes: 1024 * MiB });
    expect(base.format).toBe('raw');
    await lab.store.remove(base);
    await expect(lab.add({ maxBytes: 0 })).rejects.toMatchObject({ code: 'BAD_USAGE' });
  });
});
