import { createHash } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { layoutOptions } from '../../../src/adapters/qemu/qemu-img.js';
import { CheckpointDirectory } from '../../../src/adapters/store/checkpoint-store.js';
import { snapshotPlace } from '../../../src/core/image/qcow2-snapshots.js';

const KiB = 1024;
const extended = { clusterBytes: 128 * KiB, extendedL2: true };

/** Snapshots in images with extended L2 entries, read from images of qemu-img. */
describe('a snapshot in an image with subclusters', () => {
  let root: string;
  let image: string;
  let store: CheckpointDirectory;
  const tag = 'cowherd-0123456789ab';
  const create = (size: string, format = extended) =>
    execa('qemu-img', ['create', '-q', '-f', 'qcow2', ...layoutOptions(format), image, size]);
  const snapshot = (...args: string[]) => execa('qemu-img', ['snapshot', ...args, image]);
  const io = (...commands: string[]) => execa('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), image]);
  const held = async () => (await store.held(image, tag))?.digest;
  const patch = async (place: number, change: (bytes: Buffer) => void, length = 1): Promise<void> => {
    const handle = await open(image, 'r+');
    const { buffer } = await handle.read(Buffer.alloc(length), 0, length, place);
    change(buffer);
    await handle.write(buffer, 0, length, place);
    await handle.close();
  };
  const invert = (bytes: Buffer): void => void bytes.writeUInt8(bytes.readUInt8() ^ 1);
  /** Where a position of the disk is in the file. */
  const hostOf = async (position: number): Promise<number> => {
    const map = JSON.parse((await execa('qemu-img', ['map', '--output=json', image])).stdout);
    const part = map.find(({ start, length }: { start: number; length: number }) => position >= start && position < start + length);
    return part.offset + position - part.start;
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-extended-'));
    image = join(root, 'disk.qcow2');
    store = new CheckpointDirectory(root);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('has a digest of its subclusters and their places, and of nothing else', async () => {
    await create('3G');
    // Cluster 0: subclusters 1 and 2, and 5 as zeros. Cluster 8192 is the first of the second table.
    await io('write -P 7 4k 8k', 'write -z 20k 4k', 'write -P 8 1G 4k', `write -P 9 ${1024 ** 3 + 124 * KiB} 8k`);
    await snapshot('-c', tag);
    const hash = createHash('sha256').update('17 3 0\n');
    for (const [place, fill, size] of [
      ['data 0.1+2', 7, 8],
      ['zero 0.5+1', 0, 0],
      ['data 8192.0+1', 8, 4],
      ['data 8192.31+1', 9, 4],
      ['data 8193.0+1', 9, 4],
    ] as const)
      hash.update(`${place}\n`).update(Buffer.alloc(size * KiB, fill));
    const digest = `2:${hash.digest('hex')}`;
    expect(await held()).toBe(digest);
    expect(await store.tags(image)).toEqual([tag]);

    const first = await hostOf(4 * KiB);
    for (const place of [first, first + 8 * KiB - 1, await hostOf(1024 ** 3)]) {
      await patch(place, invert);
      expect(await held()).not.toBe(digest);
      await patch(place, invert);
    }
    // Not allocated: no guest can read it.
    for (const place of [first - 1, first + 8 * KiB]) await patch(place, invert);
    expect(await held()).toBe(digest);
  });

  it('does not change with later writes of the guest, or with other snapshots', async () => {
    await create('2G');
    await snapshot('-c', 'theirs');
    await io(
      ...Array.from({ length: 40 }, (_, index) => `write -P ${index + 1} ${index * 37 * 4}k ${4 + 4 * (index % 3)}k`),
      'write -z 1M 12k',
    );
    await snapshot('-c', tag);
    const digest = await held();
    expect(digest).toMatch(/^2:[0-9a-f]{64}$/);
    await io('write -P 1 0 32M', 'discard 1M 4M', 'write -z 2M 64k', 'write -P 3 1G 4k');
    expect(await held()).toBe(digest);
    await snapshot('-d', 'theirs');
    await snapshot('-a', tag);
    expect(await held()).toBe(digest);
    await snapshot('-d', tag);
    expect([await held(), await store.tags(image)]).toEqual([undefined, []]);
  });

  it('does not depend on the position of its clusters in the file', async () => {
    const digests = new Set<string | undefined>();
    for (const order of [
      ['4k', '200k', '520k'],
      ['520k', '4k', '200k'],
    ]) {
      await create('2G');
      await io(...order.map((place) => `write -P 7 ${place} 4k`));
      await snapshot('-c', tag);
      digests.add(await held());
    }
    expect([...digests]).toEqual([expect.any(String)]);
  });

  it('with an invalid subcluster counts as damaged', async () => {
    await create('1G');
    await io('write -P 7 4k 4k');
    await snapshot('-c', tag);
    expect(await held()).toBeDefined();
    const head = Buffer.alloc(104);
    await patch(0, (bytes) => void bytes.copy(head), 104);
    const l1 = snapshotPlace(head)?.active.offset ?? 0;
    const entry = Buffer.alloc(8);
    await patch(l1, (bytes) => void bytes.copy(entry), 8);
    const table = Number(entry.readBigUInt64BE() & 0x00ff_ffff_ffff_fe00n);
    // Allocated and zeros at once.
    await patch(table + 8, (bytes) => void bytes.writeUInt32BE(2), 8);
    expect(await held()).toBeUndefined();
  });

  it.each([
    [extended, ['1G', '3G', `${3 * 1024 ** 3 + 512}`]],
    [{ clusterBytes: 16 * KiB, extendedL2: true }, ['16M', '100M']],
    [{ clusterBytes: 64 * KiB, extendedL2: false }, ['512M', '3G']],
    [{ clusterBytes: 512, extendedL2: false }, ['1M']],
  ])('is told from the disk: the tables of %j', async (format, sizes) => {
    for (const size of sizes) {
      await create(size, format);
      const head = Buffer.alloc(104);
      await patch(0, (bytes) => void bytes.copy(head), 104);
      const place = snapshotPlace(head);
      // A fresh image has tables for the disk only.
      expect([size, place?.active.diskEntries]).toEqual([size, place?.active.entries]);
      await io('write -P 1 0 4k');
      expect(await store.hasLooseState(image)).toBe(false);
    }
  });
});
