import { chmod, link, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { diskFiles } from '../../../src/adapters/image/disk-files.js';
import { QemuSnapshotOverlays } from '../../../src/adapters/qemu/snapshot-overlays.js';
import { SnapshotDirectory } from '../../../src/adapters/store/snapshot-store.js';
import { filesNamed } from '../../../src/core/image/qcow2-header.js';
import type { SnapshotLevel } from '../../../src/core/snapshot/snapshot.js';

const uuid = '7a4bd8b1-6f0e-4d37-9f6f-2c7f2f4b6a01';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'cwt-snapshots-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const level = (overlay: string): SnapshotLevel => ({
  number: 1,
  name: 'a',
  takenAt: '2026-01-31T10:15:02.000Z',
  disks: [
    {
      target: 'vda',
      backing: { path: '/vm/a.qcow2', format: 'qcow2' },
      below: [],
      overlay,
      seal: { size: 1, mtimeNs: '2', inode: '3' },
      element: '<disk/>',
    },
  ],
});

describe('the snapshots in the store', () => {
  it('are private, and removed with the last level', async () => {
    const store = new SnapshotDirectory(root);
    const { overlay } = store.files(uuid);
    const path = overlay({ number: 1, name: 'a' }, 'vda', 1);
    expect(path).toBe(join(root, 'snapshots', uuid, '1-a', 'vda.qcow2'));
    expect(store.files(uuid).generationOf(overlay({ number: 1, name: 'a' }, 'vda', 12))).toBe(12);
    expect(store.files(uuid).generationOf(path)).toBe(1);
    const lock = await store.lock(uuid, 'web');
    await expect(new SnapshotDirectory(root).lock(uuid, 'web')).rejects.toMatchObject({
      code: 'LOCKED',
      message: expect.stringContaining('web'),
    });
    await store.makeRoom(path);
    await writeFile(path, '');
    await store.write({ version: 1, name: 'web', uuid, levels: [level(path)] });
    expect((await stat(join(root, 'snapshots', uuid, 'snapshots.json'))).mode & 0o777).toBe(0o600);
    expect(await store.list()).toEqual([uuid]);
    expect((await store.read(uuid))?.levels).toEqual([level(path)]);
    await store.write({ version: 1, name: 'web', uuid, levels: [] });
    await store.remove(uuid, [path]);
    await store.endJournal(uuid);
    await lock.release();
    expect(await readdir(join(root, 'snapshots'))).toEqual([]);
  });

  it('are not guessed if the record is damaged', async () => {
    const store = new SnapshotDirectory(root);
    await mkdir(join(root, 'snapshots', uuid), { recursive: true });
    await writeFile(join(root, 'snapshots', uuid, 'snapshots.json'), '{"version": 2}');
    await expect(store.read(uuid)).rejects.toMatchObject({
      code: 'STATE_DAMAGED',
      hint: expect.stringContaining(join(root, 'snapshots', uuid)),
    });
    await writeFile(join(root, 'snapshots', uuid, 'journal.json'), '{');
    await expect(store.journal(uuid)).rejects.toMatchObject({ code: 'STATE_DAMAGED' });
  });

  it('are accepted only in the directory of their own domain', async () => {
    const store = new SnapshotDirectory(root);
    const other = '00000000-0000-4000-8000-000000000001';
    await mkdir(join(root, 'snapshots', other), { recursive: true });
    const record = { version: 1, name: 'web', uuid, levels: [level('/x')] };
    await writeFile(join(root, 'snapshots', other, 'snapshots.json'), JSON.stringify(record));
    const journal = {
      ...{ version: 1, verb: 'drop', level: { number: 1, name: 'a' }, domain: 'web', uuid, startedAt: '2026-01-31T10:15:02.000Z' },
      ...{ wasRunning: false, after: [], switched: [], create: [], merge: [], isMerging: false, remove: [], xmlBefore: '', xmlAfter: '' },
    };
    await writeFile(join(root, 'snapshots', other, 'journal.json'), JSON.stringify(journal));
    const refusal = { code: 'STATE_DAMAGED', message: expect.stringContaining(`belongs to another domain, ${uuid}`) };
    await expect(store.read(other)).rejects.toMatchObject(refusal);
    await expect(store.journal(other)).rejects.toMatchObject(refusal);
    await rename(join(root, 'snapshots', other), join(root, 'snapshots', uuid));
    expect([await store.read(uuid), await store.journal(uuid)]).toEqual([record, journal]);
  });

  it('never remove foreign files', async () => {
    const store = new SnapshotDirectory(root);
    await mkdir(join(root, 'snapshots', uuid), { recursive: true });
    const original = join(root, 'original.qcow2');
    await writeFile(original, 'x');
    await expect(store.remove(uuid, [original])).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await symlink(root, join(root, 'snapshots', uuid, '1-a'));
    await expect(store.remove(uuid, [join(root, 'snapshots', uuid, '1-a', 'original.qcow2')])).rejects.toMatchObject({
      code: 'STORE_FAILED',
    });
    expect(await readFile(original, 'utf8')).toBe('x');
  });
});

describe('image files', () => {
  it('are replaced atomically, with their mode, even after a crash', async () => {
    const [from, to] = [join(root, 'copy'), join(root, 'VARS.fd')];
    await writeFile(from, 'kept');
    await writeFile(to, 'later and longer');
    await chmod(to, 0o640);
    await writeFile(join(root, '.VARS.fd.cowherd'), 'what a crash left, longer than both of them');
    await diskFiles.replaceContent(from, to);
    expect(await readFile(to, 'utf8')).toBe('kept');
    expect((await stat(to)).mode & 0o777).toBe(0o640);
    expect((await readdir(root)).sort()).toEqual(['VARS.fd', 'copy']);
    await symlink(from, join(root, '.VARS.fd.cowherd'));
    await expect(diskFiles.replaceContent(from, to)).rejects.toMatchObject({ code: 'STORE_FAILED' });
    expect((await lstat(to)).isFile()).toBe(true);
  });

  it('report their backing chain, link by link, with the recorded formats', async () => {
    const overlays = new QemuSnapshotOverlays(() => []);
    const [raw, first, second] = [join(root, 'a.raw'), join(root, 'b.qcow2'), join(root, 'c.qcow2')];
    // A guest may write anything to its raw disk, even the header of another image.
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-F', 'raw', '-b', '/etc/passwd', raw, '1M']);
    await overlays.create(first, { path: raw, format: 'raw' });
    await overlays.create(second, { path: first, format: 'qcow2' });
    expect((await stat(second)).mode & 0o777).toBe(0o600);
    expect(await overlays.backing({ path: second, format: 'qcow2' })).toEqual({ path: first, format: 'qcow2' });
    expect(await overlays.backing({ path: first, format: 'qcow2' })).toEqual({ path: raw, format: 'raw' });
    expect(await overlays.backing({ path: raw, format: 'raw' })).toBeUndefined();
    expect(new Set(await diskFiles.backingFiles(second))).toEqual(new Set([first]));
    expect(await diskFiles.backingFiles(raw)).toEqual(['/etc/passwd']);
    // Relative names start at the directory of the image.
    await execa('qemu-img', ['rebase', '-u', '-F', 'raw', '-b', 'a.raw', first]);
    expect(new Set(await diskFiles.backingFiles(first))).toEqual(new Set([raw]));
    // Through a link, also relative to the link, as in QEMU.
    await mkdir(join(root, 'far'));
    await symlink(first, join(root, 'far', 'link.qcow2'));
    expect(await diskFiles.backingFiles(join(root, 'far', 'link.qcow2'))).toEqual([join(root, 'far', 'a.raw'), raw]);
    // Not a disk, although a domain names it as one.
    await execa('mkfifo', [join(root, 'far', 'pipe')]);
    for (const path of [join(root, 'far'), join(root, 'far', 'pipe'), '/dev/null']) expect(await diskFiles.backingFiles(path)).toEqual([]);
    await link(raw, join(root, 'far', 'hard.raw'));
    expect(await diskFiles.identity(join(root, 'far', 'hard.raw'))).toBe(await diskFiles.identity(raw));
    for (const name of [
      'json:{"file":{"driver":"file","filename":"/x/y"}}',
      'json:{"driver":"qcow2","file.filename":"/x/y"}',
      'file:/x/y',
      '/x/y',
    ])
      expect(filesNamed('it', name)).toEqual(['/x/y']);
    expect(filesNamed('it', 'nbd://host/x')).toEqual([]);
    expect(filesNamed('it', 'a:b'.replace('a', './a'))).toEqual(['./a:b']);
    expect(() => filesNamed('it', 'json:{')).toThrow('cannot read');
    expect(await overlays.backing({ path: first, format: 'qcow2' })).toEqual({ path: raw, format: 'raw' });
    expect(await diskFiles.obstacle(join(root, 'none'), 'read')).toBe('it does not exist');
  });

  it('are committed without being emptied, so that it can be repeated', async () => {
    const overlays = new QemuSnapshotOverlays(() => []);
    const [base, overlay] = [join(root, 'base.raw'), join(root, 'overlay.qcow2')];
    await execa('qemu-img', ['create', '-q', '-f', 'raw', base, '1M']);
    await overlays.create(overlay, { path: base, format: 'raw' });
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 64k 64k', overlay]);
    const percents: number[] = [];
    for (let time = 0; time < 2; time++) await overlays.commit(overlay, (percent) => percents.push(percent));
    expect(percents.at(-1)).toBe(100);
    expect((await readFile(base))[65536]).toBe(7);
    const { stdout } = await execa('qemu-img', ['map', '--output=json', '-f', 'qcow2', overlay]);
    expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ depth: 0, data: true, length: 65536 }));
  });
});
