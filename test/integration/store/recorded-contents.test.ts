import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BaseDirectory } from '../../../src/adapters/image/base-store.js';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import type { BaseImage } from '../../../src/core/image/base.js';
import type { ImageDefaults } from '../../../src/core/image/origin.js';
import { env, GuestDisks } from '../../support/guest-disks.js';

/** What the record of a base image says about what is in it. */
describe('the record of a base image', () => {
  const { format, tree } = GuestDisks.use();
  let dir: string;
  let store: BaseDirectory;
  let cloud: string;
  const contents = { os: { id: 'x' }, cloudInit: true, agent: false };
  const add = (path: string, defaults?: ImageDefaults, more = {}) =>
    store.import({ path, format: 'raw', name: 'golden', trustChain: false, defaults, ...more });
  const recorded = async ({ path }: BaseImage) => JSON.parse(await readFile(path.replace(/raw$|qcow2$/, 'json'), 'utf8'));
  /** A disk of a member. @param commands of debugfs for its file system */
  const overlay = async (base: BaseImage, ...commands: string[]): Promise<string> => {
    const [raw, path] = [join(dir, 'changed.raw'), join(dir, 'overlay.qcow2')];
    await execa('qemu-img', ['convert', '-f', base.format, '-O', 'raw', base.path, raw]);
    for (const command of commands) await execa('debugfs', ['-w', '-R', command, raw], { env });
    await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-F', base.format, '-B', base.path, raw, path]);
    return path;
  };
  const promote = (path: string, base: BaseImage, layered: boolean) =>
    store.promote({
      ...{ overlay: path, base, name: layered ? 'layer' : 'flat', layered },
      promotedFrom: { fleet: 'cwt-lab', member: 'cwt-lab-001', base: { name: base.name, digest: base.digest } },
    });

  beforeAll(async () => {
    await tree('cloud', { 'etc/os-release': 'ID=x\n', 'usr/bin/cloud-init': '', 'usr/sbin/sshd': '' });
  });
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cwt-contents-'));
    store = new BaseDirectory(join(dir, 'store'), new QemuImg());
    cloud = await format('cloud');
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('has what was found at the import, and the defaults that follow', async () => {
    const { base } = await add(cloud);
    const defaults = { seed: 'nocloud', wait: 'ssh' };
    expect(base).toMatchObject({ contents, defaults });
    expect(await recorded(base)).toMatchObject({ contents, defaults });
    expect(await store.find('golden')).toMatchObject({ contents, defaults });
    // A dry run foresees the same.
    const preview = await store.preview({ path: await format('cloud'), name: 'other', format: 'raw', trustChain: false });
    expect(preview).toMatchObject({ how: 'copied', base: { contents, defaults } });
  });

  it('has the defaults of a catalog entry first, and keeps them if the file is imported again', async () => {
    const given = { wait: 'cloud-init', sshUser: 'debian', memoryMiB: 700 } as const;
    const { base } = await add(cloud, given);
    expect(base.defaults).toEqual({ ...given, seed: 'nocloud' });
    // As another file with the same content.
    const copy = join(dir, 'copy.raw');
    await execa('cp', [cloud, copy]);
    expect(await add(copy)).toMatchObject({ how: 'already there', base: { contents, defaults: { ...given, seed: 'nocloud' } } });
    expect((await add(copy)).base.defaults).toEqual({ ...given, seed: 'nocloud' });
    // After the image was changed.
    await execa('chmod', ['u+w', base.path]);
    await appendFile(base.path, 'x');
    await execa('touch', [copy]);
    const { how, base: again } = await add(copy);
    expect(how).not.toBe('already there');
    expect(again.defaults).toEqual({ ...given, seed: 'nocloud' });
    // Other defaults, of a newer catalog.
    const third = join(dir, 'third.raw');
    await execa('cp', [cloud, third]);
    expect((await add(third, { wait: 'ssh' })).base.defaults).toEqual({ ...given, wait: 'ssh', seed: 'nocloud' });
  });

  it('gets them when a file that was imported without is imported again', async () => {
    const { base } = await add(cloud);
    const { contents: _, defaults: __, ...old } = await recorded(base);
    await execa('chmod', ['u+w', base.path.replace(/raw$/, 'json')]);
    await writeFile(base.path.replace(/raw$/, 'json'), JSON.stringify(old));
    expect((await store.find('golden')).contents).toBeUndefined();
    const copy = join(dir, 'copy.raw');
    await execa('cp', [cloud, copy]);
    expect((await add(copy)).base).toMatchObject({ contents, defaults: { seed: 'nocloud' } });
    expect((await store.find('golden')).contents).toEqual(contents);
  });

  it('has none for the disk of a VM that is frozen meanwhile', async () => {
    const { base } = await add(cloud, undefined, { isFromQemu: true });
    expect([base.contents, base.defaults]).toEqual([undefined, undefined]);
  });

  it.each([false, true])('of a promoted image says what is in it now, and keeps given defaults (layered: %s)', async (layered) => {
    const { base } = await add(cloud, { sshUser: 'debian', memoryMiB: 700 });
    expect(base.defaults).toMatchObject({ wait: 'ssh' });
    await writeFile(join(dir, 'agent'), 'ELF');
    const changed = await overlay(base, `write ${join(dir, 'agent')} /usr/sbin/qemu-ga`);
    const { base: promoted } = await promote(changed, base, layered);
    expect(promoted.contents).toEqual({ ...contents, agent: true });
    expect(promoted.defaults).toEqual({ seed: 'nocloud', wait: 'agent', sshUser: 'debian', memoryMiB: 700 });
    expect(await recorded(promoted)).toMatchObject({ contents: promoted.contents, defaults: promoted.defaults });
  });
});
