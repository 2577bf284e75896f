import { link, mkdir, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { commitSnapshot } from '../../../src/services/snapshot/revert.js';
import { takeSnapshot } from '../../../src/services/snapshot/take.js';
import { ForeignDomain, marker, sha256 } from '../../support/foreign-domains.js';
import { virsh } from '../../support/lab.js';
import { SnapshotLab, verbs } from '../../support/snapshot-lab.js';

/** Other users of an image, and the backing chain in the XML. */
describe('the images of a snapshot', () => {
  const snapshots = SnapshotLab.use();
  const { lab, refused } = snapshots;

  it('refuses to commit into an image with other users', async () => {
    const domain = await ForeignDomain.define(lab, 'base', ['qcow2']);
    const [{ path } = { path: '' }] = domain.disks;
    await verbs.take(snapshots.host, { domain: domain.name });
    expect(await domain.boot()).toBe(1);
    const untouched = await sha256(path);
    const sibling = async (file: string) => execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', path, file]);

    // A file in the same directory, under any name.
    const beside = join(lab.scratch, 'sibling.img');
    await sibling(beside);
    expect(await refused('commit', domain.name)).toMatchObject({
      exitCode: 3,
      code: 'IMAGE_IN_USE',
      all: expect.stringContaining(beside),
    });
    // With any spelling of the backing file's name.
    await execa('qemu-img', [
      'rebase',
      '-u',
      '-F',
      'qcow2',
      '-b',
      `json:{"driver":"qcow2","file":{"driver":"file","filename":"${path}"}}`,
      beside,
    ]);
    expect((await refused('commit', domain.name)).all).toContain(beside);
    await rm(beside);
    // Another domain's disk whose XML does not contain the chain; by a symbolic link.
    const elsewhere = join(lab.scratch, 'elsewhere');
    await mkdir(elsewhere);
    await sibling(join(elsewhere, 'x.qcow2'));
    const other = `${lab.fleet('foreign')}-other`;
    await lab.defineForeign(other);
    await virsh('attach-disk', other, join(elsewhere, 'x.qcow2'), 'vda', '--subdriver', 'qcow2', '--config');
    expect((await refused('commit', domain.name)).all).toContain(`domain ${other}`);
    await virsh('detach-disk', other, 'vda', '--config');
    // By a hard link, and by a relative path through a link in the image's directory.
    const [hard, far, near] = [join(elsewhere, 'hard.img'), join(elsewhere, 'far.qcow2'), join(dirname(path), 'near.qcow2')];
    await link(path, hard);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-F', 'qcow2', '-b', basename(path), far, '64M']);
    await symlink(far, near);
    for (const disk of [hard, near]) {
      await virsh('attach-disk', other, disk, 'vda', '--subdriver', 'qcow2', '--config');
      expect((await refused('commit', domain.name)).all).toContain(`domain ${other}`);
      await virsh('detach-disk', other, 'vda', '--config');
    }
    await rm(near);
    await rm(elsewhere, { recursive: true });
    // A file of the store.
    const inStore = lab.path('fleets', 'x', 'overlays', 'y.qcow2');
    await mkdir(lab.path('fleets', 'x', 'overlays'), { recursive: true });
    await sibling(inStore);
    expect((await refused('commit', domain.name)).all).toContain(inStore);
    await rm(lab.path('fleets', 'x'), { recursive: true });
    // A domain that uses our overlay prevents its removal.
    const { path: overlay } = await domain.disk('vda');
    await virsh('attach-disk', other, overlay, 'vda', '--subdriver', 'qcow2', '--config');
    expect(await refused('drop', domain.name)).toMatchObject({ exitCode: 3, all: expect.stringContaining(`domain ${other}`) });
    await virsh('detach-disk', other, 'vda', '--config');

    expect(await sha256(path)).toBe(untouched);
    expect(await domain.boots()).toBe(1);
    // A domain with unparsable metadata is no problem.
    await virsh('metadata', other, 'urn:x', '--key', 'x', '--set', '<constructor/>', '--config');
    // Enlarged meanwhile: the original grows, with a note.
    await execa('qemu-img', ['resize', '-q', '-f', 'qcow2', overlay, '32M']);
    const { notes } = await verbs.commit(snapshots.host, { domain: domain.name });
    expect(notes).toEqual([expect.stringContaining(`${path} grows from 16777216 to 33554432 bytes`)]);
    expect((await marker(lab, { path, format: 'qcow2' }))?.boots).toBe(1);
  });

  it('writes the backing chain of a disk into the XML', async () => {
    const domain = await ForeignDomain.define(lab, 'chain', ['raw']);
    const [{ path } = { path: '' }] = domain.disks;
    const above = join(lab.scratch, 'above.qcow2');
    // With a relative name.
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', path.slice(lab.scratch.length + 1), above], {
      cwd: lab.scratch,
    });
    await domain.redefine((await domain.xml()).replace("type='raw'/>", "type='qcow2'/>").replace(path, above));
    const [before, untouched] = [await domain.xml(), await sha256(path)];
    await takeSnapshot(snapshots.host, { domain: domain.name });
    const links = [...(await domain.xml()).matchAll(/<format type='(\w+)'\/>\s*<source file='([^']+)'/g)].map(([, format, file]) => [
      format,
      file,
    ]);
    expect(links).toEqual([
      ['qcow2', above],
      ['raw', path],
    ]);
    expect(await domain.boot()).toBe(1);
    await commitSnapshot(snapshots.host, { domain: domain.name });
    expect(await domain.xml()).toBe(before);
    expect((await marker(lab, { path: above, format: 'qcow2' }))?.boots).toBe(1);
    expect(await sha256(path)).toBe(untouched);
  });
});
