import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import { removeStaged } from '../../../src/adapters/store/fleet-removal.js';
import { fleetLayout } from '../../../src/adapters/store/layout.js';
import { OverlayDirectory } from '../../../src/adapters/store/overlay-store.js';

/** The copy that replaces an overlay, with real files and the real qemu-img. */
describe('a compacted overlay', () => {
  const MiB = 1024 ** 2;
  const fleet = 'cwt-lab';
  const images = new QemuImg();
  let root: string;
  let overlays: OverlayDirectory;
  let base: { path: string; format: 'qcow2' };
  let overlay: string;
  const io = (path: string, ...commands: string[]) =>
    execa('qemu-io', ['-d', 'unmap', '-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path]);
  const room = (): string => fleetLayout(root, fleet).overlays;
  const copyOf = async () => {
    const copy = await overlays.beginCopy(fleet, 'm-1');
    const [source, target] = [overlay, copy.path].map((path) => ({ path, format: 'qcow2' as const })) as [typeof base, typeof base];
    await images.convert({ source, target, backing: base });
    return { copy, isSame: await images.isSameDisk(source, target) };
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-compact-'));
    overlays = new OverlayDirectory(root);
    await mkdir(room(), { recursive: true });
    base = { path: join(root, 'base.qcow2'), format: 'qcow2' };
    overlay = join(room(), 'm-1.qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', base.path, '128M']);
    await io(base.path, 'write -P 0xaa 0 32M');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base.path, overlay]);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('frees zeros, and keeps them if the base image has data below', async () => {
    await io(
      overlay,
      'write -P 0x11 64M 10M', // written, and overwritten with zeros: nothing below
      'write -P 0 64M 10M',
      'write -P 0x22 0 4M', // written, and trimmed: data below
      'discard 0 4M',
      'write -z 8M 4M', // zero clusters over data, never written
      'write -P 0 16M 4M', // zeros written out over data
      'write -P 0 24M 4k', // a part of a cluster
      'write -P 0x33 80M 2M', // actual data
    );
    const before = await readFile(overlay);
    const { copy, isSame } = await copyOf();
    expect(isSame).toBe(true);
    const { overlay: overlayBytes, copy: copyBytes } = await copy.sizes();
    expect(overlayBytes).toBeGreaterThan(16 * MiB);
    expect(copyBytes).toBeLessThan(3 * MiB);
    // Must not show the base image's data: compared byte by byte.
    await io(copy.path, 'read -P 0 0 4M', 'read -P 0 8M 4M', 'read -P 0 16M 4M', 'read -P 0 24M 4k', 'read -P 0 64M 10M');
    await io(copy.path, 'read -P 0xaa 4M 4M', 'read -P 0xaa 12M 4M', 'read -P 0x33 80M 2M', 'read -P 0xaa 24580k 60k');
    expect((await readFile(overlay)).equals(before)).toBe(true);
    expect((await stat(copy.path)).mode & 0o777).toBe(0o600);

    await copy.place();
    await copy.discard();
    expect(await readdir(room())).toEqual(['m-1.qcow2']);
    expect(await images.info(overlay, 'qcow2')).toMatchObject({ virtualBytes: 128 * MiB, backing: base });
    expect(await images.check(overlay)).toBeUndefined();
    // A second time frees nothing.
    const again = await copyOf();
    const sizes = await again.copy.sizes();
    expect(sizes.copy).toBeGreaterThanOrEqual(sizes.overlay);
    await again.copy.discard();
  });

  it('a copy that differs in one byte is rejected', async () => {
    await io(overlay, 'write -P 0x33 80M 1M');
    const { copy } = await copyOf();
    await io(copy.path, 'write -P 0x34 80M 1');
    const [one, other] = [overlay, copy.path].map((path) => ({ path, format: 'qcow2' as const })) as [typeof base, typeof base];
    expect(await images.isSameDisk(one, other)).toBe(false);
    // A disk without zeros at its end differs, too.
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', join(root, 'a.qcow2'), '1M']);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', join(root, 'b.qcow2'), '2M']);
    expect(
      await images.isSameDisk({ path: join(root, 'a.qcow2'), format: 'qcow2' }, { path: join(root, 'b.qcow2'), format: 'qcow2' }),
    ).toBe(false);
  });

  it('keeps an overlay that changed meanwhile, and handles one that is larger than its base image', async () => {
    await execa('qemu-img', ['resize', '-q', '-f', 'qcow2', overlay, '256M']);
    await io(overlay, 'write -P 0x33 200M 4M', 'write -P 0 200M 3M');
    const { copy, isSame } = await copyOf();
    expect(isSame).toBe(true);
    await appendFile(overlay, '');
    await execa('touch', [overlay]);
    await expect(copy.place()).rejects.toMatchObject({ code: 'STORE_FAILED', message: expect.stringContaining('changed while') });
    await copy.discard();
    const second = await copyOf();
    await second.copy.place();
    expect((await images.info(overlay, 'qcow2')).virtualBytes).toBe(256 * MiB);
    await io(overlay, 'read -P 0 200M 3M', 'read -P 0x33 203M 1M');
  });

  it('reports what a copy would lose', async () => {
    await execa('qemu-img', ['snapshot', '-c', 'before', overlay]);
    await execa('qemu-img', ['bitmap', '--add', overlay, 'dirty']);
    expect((await images.info(overlay, 'qcow2')).extras).toEqual(['internal snapshot before', 'dirty bitmap dirty']);
  });

  it('removes what a crash left, as does removing staged files', async () => {
    const left = async (): Promise<void> => writeFile(join(room(), '.compact-0123456789ab.qcow2'), 'torn');
    await left();
    await overlays.sweep(fleet);
    expect(await readdir(room())).toEqual(['m-1.qcow2']);
    await left();
    await removeStaged(fleetLayout(root, fleet));
    expect(await readdir(room())).toEqual(['m-1.qcow2']);
    await overlays.sweep('cwt-nobody');
  });
});
