import { copyFile, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { commitSnapshot, dropSnapshot, rollbackSnapshot } from '../../../src/services/snapshot/revert.js';
import { takeSnapshot } from '../../../src/services/snapshot/take.js';
import { areSame, ForeignDomain, marker, sha256 } from '../../support/foreign-domains.js';
import { until, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';
import { SnapshotLab, verbs } from '../../support/snapshot-lab.js';

/** Snapshots of foreign domains, with a real libvirt. */
describe('snapshot', () => {
  const snapshots = SnapshotLab.use();
  const { lab, list, refused, leftovers } = snapshots;

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
    const asked = await lab.answer('snapshot', 'rollback', domain.name);
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
    await takeSnapshot(snapshots.host, { domain: domain.name, name: 'second' });
    expect(await domain.boot()).toBe(3);
    expect((await list(domain))?.levels).toMatchObject([
      { number: 1, name: 'clean', disks: [{ target: 'vda', backing: first.path, format: 'raw' }, { target: 'vdb' }] },
      { number: 2, name: 'second' },
    ]);
    expect(await refused('drop', domain.name, { snapshot: 'clean' })).toMatchObject({
      exitCode: 2,
      all: expect.stringContaining('not the newest'),
    });
    await rollbackSnapshot(snapshots.host, { domain: domain.name, snapshot: 'second' });
    expect(await domain.boots()).toBe(2);
    expect((await lab.ok('snapshot', 'rollback', domain.name, 'clean', '--yes')).snapshots).toEqual(['clean']);
    expect(await domain.boot()).toBe(2);
    await domain.scribble('vdb', 0x66);
    await takeSnapshot(snapshots.host, { domain: domain.name, name: 'third' });
    expect(await domain.boot()).toBe(3);
    expect([await sha256(first.path), await sha256(second.path)]).toEqual(untouched);

    // Commit into the level below, then into the originals; the XML is exactly the original one.
    const merged = await lab.ok('snapshot', 'commit', domain.name, '--yes');
    expect(merged.snapshots).toEqual(['clean']);
    expect([await sha256(first.path), await sha256(second.path)]).toEqual(untouched);
    expect(await domain.boots()).toBe(3);
    await commitSnapshot(snapshots.host, { domain: domain.name });
    expect(await domain.xml()).toBe(asDefined);
    expect(await leftovers()).toEqual([]);
    expect((await marker(lab, first))?.boots).toBe(3);
    expect(await domain.holds('vdb', 0x66)).toBe(true);

    // Or drop it; manual edits made meanwhile are kept.
    const kept = [await sha256(first.path), await sha256(second.path)];
    await takeSnapshot(snapshots.host, { domain: domain.name });
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

  longIt('does not force off a guest that ignores the power button, unless --force is given', async () => {
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

  longIt('keeps firmware variables with the snapshot', async () => {
    const nvram = `/var/lib/libvirt/qemu/nvram/${lab.fleet('foreign')}-uefi_VARS.fd`;
    const domain = await ForeignDomain.define(lab, 'uefi', ['qcow2'], {
      os: `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>${nvram}</nvram>`,
      memoryMiB: 128,
    });
    const template = await sha256('/usr/share/OVMF/OVMF_VARS_4M.fd');
    await copyFile('/usr/share/OVMF/OVMF_VARS_4M.fd', nvram);
    await verbs.take(snapshots.host, { domain: domain.name, name: 'uefi' });
    expect((await list(domain))?.levels[0]?.hasNvram).toBe(true);
    // The firmware writes to it when it starts.
    await virsh('start', domain.name);
    await until('the firmware to write its variables', async () => (await sha256(nvram)) !== template);
    await domain.stop();
    const { uid, mode } = await stat(nvram);
    await verbs.rollback(snapshots.host, { domain: domain.name });
    expect(await sha256(nvram)).toBe(template);
    expect(await stat(nvram)).toMatchObject({ uid, mode });
    await writeFile(nvram, 'changed', { flag: 'r+' });
    await verbs.drop(snapshots.host, { domain: domain.name });
    expect(await sha256(nvram)).toBe(template);
    // Commit keeps the current variables.
    await verbs.take(snapshots.host, { domain: domain.name });
    await writeFile(nvram, 'changed', { flag: 'r+' });
    const changed = await sha256(nvram);
    await verbs.commit(snapshots.host, { domain: domain.name });
    expect(await sha256(nvram)).toBe(changed);
    expect(await leftovers()).not.toContain((await virsh('domuuid', domain.name)).trim());

    // Also if libvirt chooses the firmware. Older releases do not show the path of its NVRAM then.
    await domain.redefine((await domain.xml()).replace('<os>', `<os firmware='efi'>`).replace(/<loader[\s\S]*?<\/nvram>/, ''));
    await takeSnapshot(snapshots.host, { domain: domain.name });
    await copyFile('/usr/share/OVMF/OVMF_VARS_4M.fd', nvram);
    expect((await dropSnapshot(snapshots.host, { domain: domain.name })).notes).toEqual([]);
    expect(await sha256(nvram)).toBe(changed);
    await rm(nvram);
  });
});
