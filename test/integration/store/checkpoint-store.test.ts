import { createHash } from 'node:crypto';
import { chmod, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointDirectory } from '../../../src/adapters/store/checkpoint-store.js';
import { clusterParts, parseSnapshotTable, snapshotPlace } from '../../../src/core/image/qcow2-snapshots.js';

/** The content of snapshots, read from images of qemu-img. */
describe('a snapshot in an image', () => {
  let root: string;
  let image: string;
  let store: CheckpointDirectory;
  const tag = 'cowherd-0123456789ab';
  const io = (...commands: string[]) => execa('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), image]);
  const held = async () => (await store.held(image, tag))?.digest;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-checkpoint-'));
    image = join(root, 'disk.qcow2');
    store = new CheckpointDirectory(root);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', image, '2G']);
    await io('write -P 7 0 3M', 'write -P 8 1G 192k', 'write -z 2M 64k');
    await execa('qemu-img', ['snapshot', '-c', 'theirs', image]);
    await io('write -P 9 1M 64k');
    await execa('qemu-img', ['snapshot', '-c', tag, image]);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('does not change with later writes of the guest, or with other snapshots', async () => {
    const digest = await held();
    expect(digest).toMatch(/^2:[0-9a-f]{64}$/);
    expect(await store.tags(image)).toEqual([tag]);
    await io('write -P 1 0 512M', 'discard 1G 512M', 'write -P 3 0 1M');
    expect(await held()).toBe(digest);
    await execa('qemu-img', ['snapshot', '-d', 'theirs', image]);
    expect(await held()).toBe(digest);
    await execa('qemu-img', ['snapshot', '-a', tag, image]);
    expect(await held()).toBe(digest);
    await execa('qemu-img', ['snapshot', '-d', tag, image]);
    expect([await held(), await store.tags(image)]).toEqual([undefined, []]);
  });

  it('changes if any byte changes, or if the same bytes are elsewhere', async () => {
    const digest = await held();
    const map = JSON.parse((await execa('qemu-img', ['map', '--output=json', image])).stdout) as Array<{
      data: boolean;
      offset?: number;
      length: number;
    }>;
    const places = map.flatMap(({ data, offset, length }) => (data && offset !== undefined ? [offset, offset + length - 1] : []));
    expect(places.length).toBeGreaterThan(3);
    const handle = await open(image, 'r+');
    for (const place of places) {
      const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, place);
      await handle.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, place);
      expect(await held()).not.toBe(digest);
      await handle.write(buffer, 0, 1, place);
    }
    await handle.close();
    expect(await held()).toBe(digest);
    // One cluster, the same in both, at another position of the disk.
    const digests: Array<string | undefined> = [];
    for (const place of ['0', '64k']) {
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', image, '2G']);
      await io(`write -P 7 ${place} 64k`);
      await execa('qemu-img', ['snapshot', '-c', tag, image]);
      digests.push(await held());
    }
    expect(digests).toEqual([expect.any(String), expect.any(String)]);
    expect(digests[0]).not.toBe(digests[1]);
  });

  it('does not depend on the position of its clusters in the file', async () => {
    const digests = new Set<string | undefined>();
    // The same disk, written forwards and backwards, with zeros in the middle.
    for (const order of [
      ['0', '64k', '128k', '256k'],
      ['256k', '128k', '64k', '0'],
      ['64k', '256k', '0', '128k'],
    ]) {
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', image, '2G']);
      await io(...order.map((place) => `write -P 7 ${place} 64k`), 'write -z 192k 64k');
      await execa('qemu-img', ['snapshot', '-c', tag, image]);
      digests.add(await held());
    }
    expect([...digests]).toEqual([expect.any(String)]);
  });

  it('is compared with records of cowherd 0.1.0 by their method', async () => {
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', image, '2G']);
    await io('write -P 7 0 192k');
    await execa('qemu-img', ['snapshot', '-c', tag, image]);
    const cluster = Buffer.alloc(64 * 1024, 7);
    const sha256 = (...parts: Array<string | Buffer>): string => {
      const hash = createHash('sha256');
      for (const part of parts) hash.update(part);
      return hash.digest('hex');
    };
    // 64 KiB clusters, four tables, no memory.
    const [head, places] = ['16 4 0\n', [0, 1, 2].map((cluster) => `data ${cluster}\n`)];
    const former = sha256(head, ...places, cluster, cluster, cluster);
    expect((await store.held(image, tag, undefined, former))?.digest).toBe(former);
    expect(await held()).toBe(`2:${sha256(head, ...places.flatMap((place) => [place, cluster]))}`);
  });

  it('truncated anywhere is never considered complete, and never a crash', async () => {
    const digest = await held();
    const { size } = await stat(image);
    const whole = await readFile(image);
    for (let cut = 1; cut < 40; cut++) {
      await writeFile(image, whole);
      await truncate(image, Math.floor((size * cut) / 40));
      expect(await held()).not.toBe(digest);
    }
  });

  it('is missing in a file that is not an image, or is unreadable', async () => {
    for (const [name, bytes] of [
      ['empty', Buffer.alloc(0)],
      ['noise', Buffer.alloc(4096, 0x51)],
      ['version 2', Buffer.concat([Buffer.from('514649fb00000002', 'hex'), Buffer.alloc(512)])],
    ] as const) {
      const path = join(root, name);
      await writeFile(path, bytes);
      expect([await store.held(path, tag), await store.tags(path)]).toEqual([undefined, []]);
    }
    expect(await store.tags(join(root, 'nowhere'))).toEqual([]);
    await chmod(root, 0o755);
    await expect(store.tags(root)).rejects.toMatchObject({ code: 'STORE_FAILED' });
  });

  it('with false sizes in its header is rejected quickly', async () => {
    const whole = await readFile(image);
    const place = snapshotPlace(whole.subarray(0, 104));
    expect(place).toMatchObject({ clusterBits: 16, snapshots: 2 });
    for (const [at, value] of [
      [60, 0xffff],
      [60, 0x7fffffff],
      [64, 0x7fffffff],
      [68, 0xfffffff0],
      [20, 40],
      [(place?.tableOffset ?? 0) + 8, 0xffffffff],
      [(place?.tableOffset ?? 0) + 36, 0xffffffff],
    ] as const) {
      const bytes = Buffer.from(whole);
      bytes.writeUInt32BE(value, at);
      await writeFile(image, bytes);
      const began = performance.now();
      await store.tags(image);
      await store.held(image, 'theirs');
      expect(performance.now() - began).toBeLessThan(15_000);
    }
  });

  it('with compressed clusters is read at their offsets', () => {
    // Clusters of 64 KiB: 54 bits of offset, then the number of additional sectors.
    const table = Buffer.from('40c0000000012345', 'hex');
    const layout = { clusterBits: 16, extendedL2: false };
    const bytes = 4 * 512 - (0x12345 % 512);
    expect(clusterParts(table, 0, layout)).toEqual([{ kind: 'compressed', offset: 0x12345, bytes, subclusters: '' }]);
    expect(parseSnapshotTable(Buffer.alloc(10), 1)).toBeUndefined();
  });
});
