import { copyFile, mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { listSnapshots } from '../../../src/services/snapshot/list.js';
import { dropSnapshot } from '../../../src/services/snapshot/revert.js';
import { takeSnapshot } from '../../../src/services/snapshot/take.js';
import { diskXml, ForeignDomain } from '../../support/foreign-domains.js';
import { guest, virsh } from '../../support/lab.js';
import { SnapshotLab, verbs } from '../../support/snapshot-lab.js';

/** Unsafe operations and changes by other programs: nothing is changed. */
describe('snapshot refuses', () => {
  const snapshots = SnapshotLab.use();
  const { lab, list, refused, leftovers } = snapshots;

  it('refuses unsafe operations, and changes nothing', async () => {
    const domain = await ForeignDomain.define(lab, 'odd', ['qcow2', 'raw']);
    const [first = { path: '', format: '' }, second = { path: '', format: '' }] = domain.disks;
    const before = await domain.xml();
    const expectRefusal = async (reason: RegExp, options: object = {}, exitCode = 3) => {
      const now = await domain.xml();
      const said = await refused('take', domain.name, options);
      expect([said.exitCode, said.all]).toEqual([exitCode, expect.stringMatching(reason)]);
      expect(await domain.xml()).toBe(now);
      expect(await leftovers()).not.toContain((await virsh('domuuid', domain.name)).trim());
    };
    const withDisk = (xml: string) => domain.redefine(before.replace('</devices>', `${xml}</devices>`));

    await withDisk(
      `<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/null'/><target dev='vdc' bus='virtio'/></disk>`,
    );
    await expectRefusal(/vdc is of type "block"/);
    await withDisk(`<disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdc' bus='virtio'/></disk>`);
    await expectRefusal(/vdc is of type "volume"/);
    await withDisk(diskXml({ path: join(lab.scratch, 'nowhere.raw'), format: 'raw' }, 'vdc'));
    await expectRefusal(/nowhere.raw: it does not exist/);
    await mkdir(lab.path('bases'), { recursive: true });
    await copyFile(second.path, lab.path('bases', 'x.raw'));
    await withDisk(diskXml({ path: lab.path('bases', 'x.raw'), format: 'raw' }, 'vdc'));
    await expectRefusal(/vdc is in cowherd's store/);
    await rm(lab.path('bases'), { recursive: true });

    // Headers: encrypted, not closed cleanly, a chain without a format, and one that differs from the XML.
    const image = join(lab.scratch, 'header.qcow2');
    const damage = async (offset: number, value: number) => {
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', image, '16M']);
      const bytes = await readFile(image);
      bytes[offset] = value;
      await writeFile(image, bytes);
    };
    await withDisk(diskXml({ path: image, format: 'qcow2' }, 'vdc'));
    await damage(35, 1);
    await expectRefusal(/header.qcow2 is encrypted/);
    await damage(79, 1);
    await expectRefusal(/was not closed cleanly/);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', second.path, image]);
    const bytes = await readFile(image);
    bytes.writeUInt32BE(0x12345678, bytes.indexOf(Buffer.from('e2792aca', 'hex')));
    await writeFile(image, bytes);
    await domain.redefine(
      before.replace(first.path, image).replace(/<disk [^>]*>\s*<driver [^>]*>\s*<source file='[^']*-1.raw'[\s\S]*?<\/disk>/, ''),
    );
    await expectRefusal(/does not record the format of its backing file/);
    expect((await takeSnapshot(snapshots.host, { domain: domain.name, trustChain: true, diffOnly: true })).diff).toContain(
      '<format type="raw"/>',
    );
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', second.path, image]);
    await domain.redefine((await domain.xml()).replace(/(<source file='[^']*header.qcow2'[^>]*>)/, '$1<backingStore/>'));
    await expectRefusal(/backing chain in its XML \(none\) differs from the headers of its files/);
    await domain.redefine(before);

    // libvirt's own snapshots, and disks of others.
    await virsh('snapshot-create-as', domain.name, 'internal', '--disk-only', '--no-metadata', '--print-xml');
    const qcow2Only = before.replace(/<disk [^>]*>\s*<driver [^>]*>\s*<source file='[^']*-1.raw'[\s\S]*?<\/disk>/, '');
    await domain.redefine(qcow2Only);
    await virsh('snapshot-create-as', domain.name, 'internal');
    await expectRefusal(/snapshots of libvirt/);
    await virsh('snapshot-delete', domain.name, 'internal');
    const other = `${lab.fleet('foreign')}-sharer`;
    await lab.defineForeign(other);
    await virsh('attach-disk', other, first.path, 'vda', '--subdriver', 'qcow2', '--config');
    await expectRefusal(new RegExp(`is also a disk of domain ${other}`));
    await virsh('undefine', other);
    await domain.redefine(before);

    const transient = `${lab.fleet('foreign')}-passing`;
    const path = join(lab.scratch, 'transient.xml');
    await writeFile(path, `<domain type='qemu'><name>${transient}</name><memory unit='MiB'>16</memory><os><type>hvm</type></os></domain>`);
    await virsh('create', path);
    expect((await refused('take', transient)).all).toContain('it is transient');
    await virsh('destroy', transient);
    const fleet = lab.fleet('member');
    await lab.ok('spawn', fleet, '--base', await lab.golden('member.qcow2'), '--count', '1', '--no-start', ...guest);
    expect(await refused('take', `${fleet}-001`)).toMatchObject({ exitCode: 2, hint: expect.stringContaining(`cowherd reset ${fleet} 1`) });
    await lab.ok('teardown', fleet, '--yes');
    expect(await refused('take', lab.fleet('nobody'))).toMatchObject({ exitCode: 5, code: 'DOMAIN_NOT_FOUND' });
  });

  it('detects changes by other programs, and changes nothing', async () => {
    const domain = await ForeignDomain.define(lab, 'behind', ['raw']);
    const [{ path } = { path: '' }] = domain.disks;
    await domain.boot();
    const original = await domain.xml();
    await verbs.take(snapshots.host, { domain: domain.name, name: 'a' });
    const overlaid = await domain.xml();
    const expectAllRefused = async (exitCode: number, reason: string) => {
      for (const verb of ['take', 'rollback', 'drop', 'commit'] as const) {
        const said = await refused(verb, domain.name);
        expect([verb, said.exitCode, said.all]).toEqual([verb, exitCode, expect.stringContaining(reason)]);
      }
    };

    await domain.redefine(original);
    expect((await list(domain))?.problems).toEqual([expect.stringContaining(`disk vda is ${path} (raw), not the overlay`)]);
    await expectAllRefused(7, 'no longer uses the overlays');
    expect(await domain.xml()).toBe(original);
    await domain.redefine(overlaid);
    expect((await list(domain))?.problems).toEqual([]);

    // The original was changed: its overlays may be inconsistent, and only drop is left.
    const { atime, mtime } = await stat(path);
    await utimes(path, atime, new Date(mtime.getTime() + 1000));
    expect((await list(domain))?.problems).toEqual([
      expect.stringContaining(`${path}, backing file of disk vda in 1 (a): modification time`),
    ]);
    await expectAllRefused(7, 'modification time');
    expect(await domain.xml()).toBe(overlaid);

    await virsh('undefine', domain.name);
    expect((await list(domain))?.problems).toContain('the domain does not exist');
    expect(await refused('drop', domain.name)).toMatchObject({
      exitCode: 5,
      all: expect.stringContaining('of its snapshots are in'),
    });
    await domain.redefine(overlaid);
    await dropSnapshot(snapshots.host, { domain: domain.name, acceptChanged: true });
    expect(await domain.xml()).toBe(original);
    expect(await domain.boots()).toBe(1);
  });

  it('rejects the record of another domain', async () => {
    const [mine, other] = [
      await ForeignDomain.define(lab, 'own-record', ['raw']),
      await ForeignDomain.define(lab, 'strange-record', ['raw']),
    ];
    const [uuid = '', otherUuid = ''] = await Promise.all([mine, other].map(async ({ name }) => (await virsh('domuuid', name)).trim()));
    await verbs.take(snapshots.host, { domain: mine.name, name: 'a' });
    const before = [await mine.xml(), await other.xml()];
    await mkdir(lab.path('snapshots', otherUuid));
    await copyFile(lab.path('snapshots', uuid, 'snapshots.json'), lab.path('snapshots', otherUuid, 'snapshots.json'));
    for (const verb of ['take', 'rollback', 'drop', 'commit'] as const)
      expect(await refused(verb, other.name)).toMatchObject({ exitCode: 7, code: 'STATE_DAMAGED', all: expect.stringContaining(uuid) });
    expect([await mine.xml(), await other.xml()]).toEqual(before);
    expect((await listSnapshots(snapshots.host, undefined)).damaged).toMatchObject([{ path: lab.path('snapshots', otherUuid) }]);
    await rm(lab.path('snapshots', otherUuid), { recursive: true });
    await verbs.take(snapshots.host, { domain: other.name, name: 'a' });
    for (const domain of [mine, other]) await dropSnapshot(snapshots.host, { domain: domain.name });
  });
});
