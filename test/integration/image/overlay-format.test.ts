import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import { OverlayDirectory } from '../../../src/adapters/store/overlay-store.js';
import type { BaseImage } from '../../../src/core/image/base.js';
import { completeFormat, formerOverlayFormat, maxDiskBytes, type OverlayFormat } from '../../../src/core/image/overlay-format.js';

const KiB = 1024;
const MiB = 1024 ** 2;

/** What the real qemu-img makes of a format. */
describe('an overlay', () => {
  const images = new QemuImg();
  let root: string;
  const at = (name: string): string => join(root, name);
  const baseAt = (path: string): BaseImage => ({ path, format: 'qcow2', virtualBytes: 64 * MiB }) as BaseImage;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-format-'));
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', at('base.qcow2'), '64M']);
    await execa('cp', [at('base.qcow2'), at('moved.qcow2')]);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  async function formatOf(path: string): Promise<OverlayFormat> {
    const info = JSON.parse((await execa('qemu-img', ['info', '-f', 'qcow2', '--output=json', path])).stdout);
    return { clusterBytes: info['cluster-size'], extendedL2: info['format-specific'].data['extended-l2'] };
  }

  it.each([
    formerOverlayFormat,
    completeFormat({ extendedL2: true }),
    { clusterBytes: 16 * KiB, extendedL2: true },
    { clusterBytes: 2 * MiB, extendedL2: true },
    { clusterBytes: 512, extendedL2: false },
  ])('has the format %j, also after it was grown, moved and copied', async (layout) => {
    const [overlay, copy] = [at('overlay.qcow2'), at('copy.qcow2')];
    const fresh = await images.freshOverlay(baseAt(at('base.qcow2')), at('scratch'), layout);
    const blank = await images.blankDisk(32 * MiB, at('scratch'), layout);
    for (const bytes of [blank, fresh]) {
      await writeFile(overlay, bytes);
      expect(await formatOf(overlay)).toEqual(layout);
      // Three clusters and the L1 table, most of them zeros.
      expect(await new OverlayDirectory(root).measure('lab', bytes)).toBeLessThanOrEqual(16 * KiB);
    }
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 1M 4k', overlay]);
    await images.grow(overlay, 96 * MiB);
    await images.repoint(overlay, baseAt(at('moved.qcow2')));
    await images.rebase(overlay, baseAt(at('base.qcow2')));
    expect(await formatOf(overlay)).toEqual(layout);
    const [source, target] = [overlay, copy].map((path) => ({ path, format: 'qcow2' as const })) as [BaseImage, BaseImage];
    await images.convert({ source, target, backing: baseAt(at('base.qcow2')), layout });
    expect([await formatOf(copy), await images.isSameDisk(source, target)]).toEqual([layout, true]);
    // Without a format, as for a base image.
    await images.convert({ source, target: { path: at('base.new'), format: 'qcow2' } });
    expect(await formatOf(at('base.new'))).toEqual(formerOverlayFormat);
  });

  it.each([completeFormat({ extendedL2: true }), { clusterBytes: 16 * KiB, extendedL2: true }])(
    'has the largest disk that is assumed: %j',
    async (layout) => {
      await expect(images.blankDisk(maxDiskBytes(layout), at('scratch'), layout)).resolves.toBeInstanceOf(Buffer);
      await expect(images.blankDisk(maxDiskBytes(layout) + MiB, at('scratch'), layout)).rejects.toThrow(/too large/);
    },
  );
});
