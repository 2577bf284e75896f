import { copyFile, link, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CowherdError } from '../../../src/core/errors.js';
import { type Host, openHost } from '../../../src/host.js';
import { listSnapshots } from '../../../src/services/snapshot/list.js';
import { commitSnapshot, dropSnapshot, rollbackSnapshot } from '../../../src/services/snapshot/revert.js';
import { takeSnapshot } from '../../../src/services/snapshot/take.js';
import { areSame, diskXml, ForeignDomain, marker, sha256 } from '../../support/foreign-domains.js';
import { guest, Lab, until, uri, virsh } from '../../support/lab.js';

const verbs = { take: takeSnapshot, rollback: rollbackSnapshot, drop: dropSnapshot, commit: commitSnapshot };

/** Snapshots of foreign domains, with a real libvirt. */
describe('snapshot', () => {
  let lab: Lab;
  /** The same services in-process. */
  let host: Host;
  beforeAll(async () => {
    lab = await Lab.open();
    await mkdir(lab.store, { recursive: true });
    host = await openHost({ connect: uri, store: lab.store });
  });
  afterAll(async () => {
    await host.close();
    await lab.close();
  });

  const list = async (domain: ForeignDomain) => (await listSnapshots(host, domain.name)).domains[0];
  const refused = async (verb: keyof typeof verbs, domain: string, options: object = {}) => {
    const error = await verbs[verb](host, { domain, ...options }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof CowherdError)) throw new Error(`${verb} was not refused: ${error}`);
    return { exitCode: error.exitCode, code: error.code, hint: error.hint, all: [error.message, ...error.details, error.hint].join('\n') };
  };
  const leftovers = async () => (await readdir(lab.path('snapshots')).catch(() => [])).filter((name) => !name.startsWith('.'));

  it('works from take to commit, with a raw and a qcow2 disk', async () => {
    const domain = await ForeignDomain.define(lab, 'recipe', ['raw', 'qcow2']);
    const [first = { path: '', format: '' }, second = { path: '', format: '' }] = domain.disks;
    expect(await domain.boot()).toBe(1);
    const asDefined = await domain.xml();
    const untouched = [await sha256(first.path), await sha256(second.path)];

    // --print-diff changes nothing.
    const look = await lab.ok('snapshot', 'take', domain.name, '--print-diff');
    expect(look).toMatchObject({ isDone: false, diff: expect.stringContaining(`-      <source file="${first.path}"/>`) });
    expect(look.diff).not.toContain('hidden12');
    expect(await domain.xml()).toBe(asDefined);
    expect(await leftovers()).toEqual([]);

    const taken = await lab.ok('snapshot', 'take', domain.name, '--name', 'clean');
    expect(taken).toMatchObject({ snapshot: { number: 1, name: 'clean' }, snapshots: ['clean'], wasRunning: false, startedAgain: false });
    const overlay = await domain.disk('vda');
    expect(overlay).toEqual({ path: lab.path('snapshots', taken.uuid, '1-clean', 'vda.qcow2'), format: 'qcow2' });
    expect((await stat(overlay.path)).mode & 0o777).toBe(0o600);
    expect((await stat(lab.path('snapshots', taken.uuid, 'snapshots.json'))).mode & 0o777).toBe(0o600);
    expect(await domain.xml()).toContain('hidden12');

    // Change the disk and roll back.
    expect(await domain.boot()).toBe(2);
    await domain.scribble('vdb', 0x55);
    const asked = await lab.cowherd('snapshot', 'rollback', domain.name, '--json');
    expect(asked).toMatchObject({
      exitCode: 3,
      json: { error: { code: 'CONFIRMATION_NEEDED', details: [expect.stringContaining('will be lost')] } },
    });
    expect(await domain.boots()).toBe(2);
    await lab.ok('snapshot', 'rollback', domain.name, '--yes');
    expect(await areSame(await domain.disk('vda'), first)).toBe(true);
    expect(await areSame(await domain.disk('vdb'), second)).toBe(true);
    expect(await domain.boot()).toBe(2);

    // A second level, rolled back and dropped.
    await takeSnapshot(host, { domain: domain.name, name: 'second' });
    expect(await domain.boot()).toBe(3);
    expect((await list(domain))?.levels).toMatchObject([
      { number: 1, name: 'clean', disks: [{ target: 'vda', backing: first.path, format: 'raw' }, { target: 'vdb' }] },
      { number: 2, name: 'second' },
    ]);
    expect(await refused('drop', domain.name, { snapshot: 'clean' })).toMatchObject({
      exitCode: 2,
      all: expect.stringContaining('not the newest'),
    });
    await rollbackSnapshot(host, { domain: domain.name, snapshot: 'second' });
    expect(await domain.boots()).toBe(2);
    expect((await lab.ok('snapshot', 'rollback', domain.name, 'clean', '--yes')).snapshots).toEqual(['clean']);
    expect(await domain.boot()).toBe(2);
    await domain.scribble('vdb', 0x66);
    await takeSnapshot(host, { domain: domain.name, name: 'third' });
    expect(await domain.boot()).toBe(3);
    expect([await sha256(first.path), await sha256(second.path)]).toEqual(untouched);

    // Commit into the level below, then into the originals; the XML is exactly the original one.
    const merged = await lab.ok('snapshot', 'commit', domain.name, '--yes');
    expect(merged.snapshots).toEqual(['clean']);
    expect([await sha256(first.path), await sha256(second.path)]).toEqual(untouched);
    expect(await domain.boots()).toBe(3);
    await commitSnapshot(host, { domain: domain.name });
    expect(await domain.xml()).toBe(asDefined);
    expect(await leftovers()).toEqual([]);
    expect((await marker(lab, first))?.boots).toBe(3);
    expect(await domain.holds('vdb', 0x66)).toBe(true);

    // Or drop it; manual edits made meanwhile are kept.
    const kept = [await sha256(first.path), await sha256(second.path)];
    await takeSnapshot(host, { domain: domain.name });
    expect(await domain.boot()).toBe(4);
    await domain.redefine((await domain.xml()).replace(/<memory unit='KiB'>\d+/, `<memory unit='KiB'>20480`));
    await lab.ok('snapshot', 'drop', domain.name, '--yes');
    expect([await sha256(first.path), await sha256(second.path)]).toEqual(kept);
    expect(await domain.boots()).toBe(3);
    expect(await domain.xml()).toBe(asDefined.replace(/<memory unit='KiB'>\d+/, `<memory unit='KiB'>20480`));
    expect(await leftovers()).toEqual([]);
    expect(await refused('drop', domain.name)).toMatchObject({ exitCode: 5, code: 'SNAPSHOT_NOT_FOUND' });
  });

  it('shuts a running guest down, and starts it again', async () => {
    const domain = await ForeignDomain.define(lab, 'running', ['qcow2']);
    const uuid = (await virsh('domuuid', domain.name)).trim();
    await domain.start();
    const before = await domain.xml();
    // A take that fails after the shutdown is undone, and the guest is started again.
    const inTheWay = lab.path('snapshots', uuid, '1-a');
    await mkdir(lab.path('snapshots', uuid), { recursive: true });
    await writeFile(inTheWay, '');
    await rm(domain.console);
    expect(await refused('take', domain.name, { name: 'a' })).toMatchObject({ exitCode: 8, code: 'STORE_FAILED' });
    await domain.booted();
    expect([await domain.state(), await domain.xml()]).toEqual(['running', before]);
    expect(await readdir(lab.path('snapshots', uuid))).toEqual(['1-a']);
    await rm(inTheWay);
    await rm(domain.console);
    expect(await lab.ok('snapshot', 'take', domain.name, '--name', 'a', '--yes')).toMatchObject({ wasRunning: true, startedAgain: true });
    await domain.booted();
    expect(await domain.state()).toBe('running');
    const { exitCode, stdout } = await lab.cowherd('snapshot', 'list', domain.name);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/running\n {2}SNAPSHOT +TAKEN[\s\S]+1 a +/);
    const said = await lab.cowherd('snapshot', 'commit', domain.name, '--yes', '--no-start');
    expect([said.exitCode, said.stdout]).toEqual([
      0,
      expect.stringMatching(/committed snapshot 1 \(a\) in .*, left off\n {2}no snapshots left/),
    ]);
    expect(await domain.state()).toBe('shut off');
    expect(await domain.boots()).toBe(3);
  });

  it('does not force off a guest that ignores the power button, unless --force is given', async () => {
    const domain = await ForeignDomain.define(lab, 'deaf', ['raw'], { ending: 'halt' });
    await domain.start();
    const before = await domain.xml();
    expect(await refused('take', domain.name, { timeoutMs: 1000 })).toMatchObject({ exitCode: 8, code: 'NOT_STOPPED' });
    expect(await domain.state()).toBe('running');
    expect(await domain.xml()).toBe(before);
    expect(await leftovers()).toEqual([]);
    // Ctrl-C during the wait: the same.
    const run = lab.begin('snapshot', 'take', domain.name, '--yes');
    await until('the journal', async () => (await leftovers()).length > 0);
    run.kill('SIGINT');
    expect((await run).exitCode).toBe(130);
    expect([await domain.state(), await domain.xml(), await leftovers()]).toEqual(['running', before, []]);
    // Saved memory belongs to the current disks.
    await virsh('managedsave', domain.name);
    expect(await refused('take', domain.name)).toMatchObject({ exitCode: 3, all: expect.stringContaining('managed save') });
    await virsh('managedsave-remove', domain.name);
    await domain.start();
    expect(await lab.ok('snapshot', 'take', domain.name, '--timeout', '1s', '--force', '--yes')).toMatchObject({ startedAgain: true });
    await domain.stop();
  });

  it('keeps firmware variables with the snapshot', async () => {
    const nvram = `/var/lib/libvirt/qemu/nvram/${lab.fleet('foreign')}-uefi_VARS.fd`;
    const domain = await ForeignDomain.define(lab, 'uefi', ['qcow2'], {
      os: `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>${nvram}</nvram>`,
      memoryMiB: 128,
    });
    const template = await sha256('/usr/share/OVMF/OVMF_VARS_4M.fd');
    await copyFile('/usr/share/OVMF/OVMF_VARS_4M.fd', nvram);
    await verbs.take(host, { domain: domain.name, name: 'uefi' });
    expect((await list(domain))?.levels[0]?.hasNvram).toBe(true);
    // The firmware writes to it when it starts.
    await virsh('start', domain.name);
    await until('the firmware to write its variables', async () => (await sha256(nvram)) !== template);
    await domain.stop();
    const { uid, mode } = await stat(nvram);
    await verbs.rollback(host, { domain: domain.name });
    expect(await sha256(nvram)).toBe(template);
    expect(await stat(nvram)).toMatchObject({ uid, mode });
    await writeFile(nvram, 'changed', { flag: 'r+' });
    await verbs.drop(host, { domain: domain.name });
    expect(await sha256(nvram)).toBe(template);
    // Commit keeps the current variables.
    await verbs.take(host, { domain: domain.name });
    await writeFile(nvram, 'changed', { flag: 'r+' });
    const changed = await sha256(nvram);
    await verbs.commit(host, { domain: domain.name });
    expect(await sha256(nvram)).toBe(changed);
    expect(await leftovers()).not.toContain((await virsh('domuuid', domain.name)).trim());

    // Also if libvirt chooses the firmware. Older releases do not show the path of its NVRAM then.
    await domain.redefine((await domain.xml()).replace('<os>', `<os firmware='efi'>`).replace(/<loader[\s\S]*?<\/nvram>/, ''));
    await takeSnapshot(host, { domain: domain.name });
    await copyFile('/usr/share/OVMF/OVMF_VARS_4M.fd', nvram);
    expect((await dropSnapshot(host, { domain: domain.name })).notes).toEqual([]);
    expect(await sha256(nvram)).toBe(changed);
    await rm(nvram);
  });

  it('refuses to commit into an image with other users', async () => {
    const domain = await ForeignDomain.define(lab, 'base', ['qcow2']);
    const [{ path } = { path: '' }] = domain.disks;
    await verbs.take(host, { domain: domain.name });
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
    const { notes } = await verbs.commit(host, { domain: domain.name });
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
    await takeSnapshot(host, { domain: domain.name });
    const links = [...(await domain.xml()).matchAll(/<format type='(\w+)'\/>\s*<source file='([^']+)'/g)].map(([, format, file]) => [
      format,
      file,
    ]);
    expect(links).toEqual([
      ['qcow2', above],
      ['raw', path],
    ]);
    expect(await domain.boot()).toBe(1);
    await commitSnapshot(host, { domain: domain.name });
    expect(await domain.xml()).toBe(before);
    expect((await marker(lab, { path: above, format: 'qcow2' }))?.boots).toBe(1);
    expect(await sha256(path)).toBe(untouched);
  });

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
    expect((await takeSnapshot(host, { domain: domain.name, trustChain: true, diffOnly: true })).diff).toContain('<format type="raw"/>');
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

  it('killed just before the start, the same verb only starts the domain', async () => {
    const domain = await ForeignDomain.define(lab, 'start', ['qcow2']);
    for (const name of ['a', 'b']) await verbs.take(host, { domain: domain.name, name });
    const path = lab.path('snapshots', (await virsh('domuuid', domain.name)).trim(), 'journal.json');
    let journal = '';
    const run = lab.begin('snapshot', 'drop', domain.name, '--yes');
    await until(
      'the journal',
      async () => {
        journal = await readFile(path, 'utf8').catch(() => '');
        return journal !== '';
      },
      20,
    );
    await run;
    await writeFile(path, JSON.stringify({ ...JSON.parse(journal), wasRunning: true, isCleared: true }));
    expect(await lab.ok('snapshot', 'drop', domain.name, '--yes')).toMatchObject({ isResumed: true, startedAgain: true, snapshots: ['a'] });
    expect((await list(domain))?.levels.map(({ name }) => name)).toEqual(['a']);
    expect((await list(domain))?.unfinished).toBeUndefined();
    await virsh('destroy', domain.name);
  });

  it('detects changes by other programs, and changes nothing', async () => {
    const domain = await ForeignDomain.define(lab, 'behind', ['raw']);
    const [{ path } = { path: '' }] = domain.disks;
    await domain.boot();
    const original = await domain.xml();
    await verbs.take(host, { domain: domain.name, name: 'a' });
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
    await dropSnapshot(host, { domain: domain.name, acceptChanged: true });
    expect(await domain.xml()).toBe(original);
    expect(await domain.boots()).toBe(1);
  });

  it('rejects the record of another domain', async () => {
    const [mine, other] = [
      await ForeignDomain.define(lab, 'own-record', ['raw']),
      await ForeignDomain.define(lab, 'strange-record', ['raw']),
    ];
    const [uuid = '', otherUuid = ''] = await Promise.all([mine, other].map(async ({ name }) => (await virsh('domuuid', name)).trim()));
    await verbs.take(host, { domain: mine.name, name: 'a' });
    const before = [await mine.xml(), await other.xml()];
    await mkdir(lab.path('snapshots', otherUuid));
    await copyFile(lab.path('snapshots', uuid, 'snapshots.json'), lab.path('snapshots', otherUuid, 'snapshots.json'));
    for (const verb of ['take', 'rollback', 'drop', 'commit'] as const)
      expect(await refused(verb, other.name)).toMatchObject({ exitCode: 7, code: 'STATE_DAMAGED', all: expect.stringContaining(uuid) });
    expect([await mine.xml(), await other.xml()]).toEqual(before);
    expect((await listSnapshots(host, undefined)).damaged).toMatchObject([{ path: lab.path('snapshots', otherUuid) }]);
    await rm(lab.path('snapshots', otherUuid), { recursive: true });
    await verbs.take(host, { domain: other.name, name: 'a' });
    for (const domain of [mine, other]) await dropSnapshot(host, { domain: domain.name });
  });

  /** kill -9 at increasing times; afterwards the domain must boot with old or new disks, and the verb must be completed. */
  describe.each(['take', 'rollback', 'drop', 'commit'] as const)('after kill -9 in a %s', (verb) => {
    it('boots with the old or the new disks, and the same verb completes it', async () => {
      const domain = await ForeignDomain.define(lab, `crash-${verb}`, ['raw', 'qcow2']);
      const uuid = (await virsh('domuuid', domain.name)).trim();
      const journal = lab.path('snapshots', uuid, 'journal.json');
      const isThere = (path: string) =>
        stat(path).then(
          () => true,
          () => false,
        );
      const asDefined = await domain.xml();
      const isKept = verb === 'take' || verb === 'rollback';
      let boots = 0;
      for (const [round, delay] of [0, 100].entries()) {
        if (verb !== 'take') {
          await takeSnapshot(host, { domain: domain.name, name: 'x' });
          await domain.scribble('vda', round + 1, '8M');
          await domain.scribble('vdb', round + 1, '8M');
        }
        const before = await domain.xml();
        const run = lab.begin('snapshot', verb, domain.name, '--yes', ...(verb === 'take' ? ['--name', 'x'] : []));
        await until('the journal', () => isThere(journal), 20);
        await new Promise((resolve) => setTimeout(resolve, delay));
        run.kill('SIGKILL');
        await run;

        const unfinished = (await list(domain))?.unfinished;
        await lab.unlocked();
        const isOld = (await domain.xml()) === before;
        if (unfinished !== undefined) expect(unfinished).toMatchObject({ verb, finishWith: `cowherd snapshot ${verb} ${domain.name}` });
        // Both disks are old or both are new, and the guest boots from them.
        const isWritten = verb === 'commit' || isOld;
        if (verb !== 'take')
          expect([await domain.holds('vda', round + 1), await domain.holds('vdb', round + 1)]).toEqual([isWritten, isWritten]);
        expect(await domain.boot()).toBe(boots + 1);

        if (await isThere(journal)) {
          expect(await list(domain)).toMatchObject({ unfinished: { boots: isOld ? 'as before it' : 'as after it' }, problems: [] });
          if (verb !== 'drop') expect(await refused('drop', domain.name)).toMatchObject({ exitCode: 3, code: 'UNFINISHED_OPERATION' });
          expect(await lab.ok('snapshot', verb, domain.name, '--yes')).toMatchObject({ isResumed: true });
        }
        expect(await isThere(journal)).toBe(false);
        const listed = await list(domain);
        expect(listed?.problems ?? []).toEqual([]);
        expect(listed?.levels.map(({ name }) => name) ?? []).toEqual(isKept ? ['x'] : []);
        // No unknown files are left.
        const files = (await readdir(lab.path('snapshots', uuid), { recursive: true }).catch(() => [])).filter((file) =>
          file.endsWith('.qcow2'),
        );
        expect(files).toHaveLength(isKept ? 2 : 0);
        if (verb !== 'take')
          expect([await domain.holds('vda', round + 1), await domain.holds('vdb', round + 1)]).toEqual([
            verb === 'commit',
            verb === 'commit',
          ]);
        // Changes made with the new disks count; those made with the old disks are lost, unless they were to be kept.
        expect(await domain.boots()).toBe(verb === 'take' || verb === 'commit' || !isOld ? boots + 1 : boots);
        if (isKept) await dropSnapshot(host, { domain: domain.name });
        expect(await domain.xml()).toBe(asDefined);
        boots = await domain.boots();
      }
    });
  });
});
