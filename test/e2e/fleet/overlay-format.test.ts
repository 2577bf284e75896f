import { readdir, readFile, rm } from 'node:fs/promises';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { defaultOverlayFormat, formerOverlayFormat } from '../../../src/core/image/overlay-format.js';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { guest, Lab } from '../../support/lab.js';

const KiB = 1024;
const extended = { clusterBytes: 128 * KiB, extendedL2: true };

/** Overlays with extended L2 entries, in all commands that create or read one. */
describe('the format of overlays', () => {
  const lab = Lab.use();

  async function formatOf(path: string): Promise<typeof extended> {
    const info = JSON.parse((await execa('qemu-img', ['info', '-U', '-f', 'qcow2', '--output=json', path])).stdout);
    return { clusterBytes: info['cluster-size'], extendedL2: info['format-specific'].data['extended-l2'] };
  }
  /** The formats of the disks of both members. */
  const formats = (fleet: string) =>
    Promise.all(['001', '001.data', '002', '002.data'].map((stem) => formatOf(lab.overlay(fleet, `${fleet}-${stem}`))));
  const allOf = <T>(format: T): T[] => Array(4).fill(format);
  const record = async (fleet: string) => JSON.parse(await readFile(lab.path('fleets', fleet, 'fleet.json'), 'utf8'));
  const stop = (fleet: string) => lab.ok('stop', fleet, '--force', '--timeout', '1s');
  const boots = async (fleet: string, index: number) => (await lab.marker(fleet, `${fleet}-00${index}`))?.boots;

  it('is kept by every command, and changes with a reset', async () => {
    const fleet = lab.fleet('format');
    const golden = await lab.golden('one.qcow2', { filledMiB: 1 });
    const booted = ['--wait', 'console=^OK'];
    const overlay = ['--overlay', 'cluster-size=128KiB,extended-l2=on'];
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, '--disk', '32MiB,name=data', ...overlay, ...booted);
    expect(await formats(fleet)).toEqual(allOf(extended));
    const spawned = await record(fleet);
    expect(spawned.spec.overlay).toEqual(extended);
    // Only the blocks of a fresh file that are not zero are written: 12 KiB of its 384 KiB, for each of two disks.
    expect(spawned.freshOverlayBytes).toBeLessThanOrEqual(32 * KiB);
    expect((await lab.ok('spawn', fleet)).counts).toMatchObject({ unchanged: 2 });

    // Memory is saved in the overlay, and found there.
    const clean = await lab.ok('report', fleet);
    expect((await lab.ok('checkpoint', fleet)).counts).toMatchObject({ checkpointed: 2, failed: 0 });
    const report = await lab.ok('report', fleet);
    expect(report.overlays.checkpointBytes).toBeGreaterThan(100_000);
    expect(report.overlays.driftBytes).toBe(clean.overlays.driftBytes);
    expect((await lab.ok('reset', fleet, '--warm')).counts).toMatchObject({ restored: 2, failed: 0 });
    // Scattered writes of a guest, which the reset removes with the memory.
    await stop(fleet);
    const writes = Array.from({ length: 32 }, (_, index) => ['-c', `write -P 5 ${2048 + index * 132}k 4k`]).flat();
    await execa('qemu-io', ['-f', 'qcow2', ...writes, lab.overlay(fleet, `${fleet}-001`)]);
    expect((await lab.ok('reset', fleet, '--warm')).counts).toMatchObject({ restored: 2, failed: 0 });
    expect((await lab.ok('verify')).findings).toEqual([]);

    expect((await lab.ok('reset', fleet, ...booted)).counts).toMatchObject({ reset: 2 });
    expect(await formats(fleet)).toEqual(allOf(extended));
    await stop(fleet);
    expect(await boots(fleet, 1)).toBe(1);

    // Zeros over data that the guest had written: a copy is smaller.
    const data = lab.overlay(fleet, `${fleet}-001.data`);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 8M', '-c', 'write -P 0 4k 8188k', data]);
    expect((await lab.ok('compact', fleet)).freedBytes).toBeGreaterThan(7 * 1024 * KiB);
    expect(await formats(fleet)).toEqual(allOf(extended));
    const read = await execa('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -P 7 0 4k', '-c', 'read -P 0 4k 1M', data]);
    expect(read.stdout).not.toContain('verification failed');

    // What others build on has the usual format.
    for (const more of [[], ['--layered']]) {
      const name = `promoted${more.length}`;
      await lab.ok('promote', `${fleet}-001`, '--as', name, ...more);
      const [file = ''] = (await readdir(lab.path('bases', name))).filter((entry) => entry.endsWith('.qcow2'));
      expect(await formatOf(lab.path('bases', name, file))).toEqual(formerOverlayFormat);
    }
    await lab.ok('rebase', fleet, '--base', 'promoted0', '--keep-drift', ...booted);
    expect(await formats(fleet)).toEqual(allOf(extended));
    await stop(fleet);
    // The canary was started again.
    expect([await boots(fleet, 1), await boots(fleet, 2)]).toEqual([2, 1]);
    await lab.ok('rebase', fleet, '--base', 'promoted1');
    expect(await formats(fleet)).toEqual(allOf(extended));
    expect((await lab.ok('verify')).findings).toEqual([]);

    await stop(fleet);
    await lab.ok('spawn', fleet, '--disk-size', '96MiB', '--no-start');
    expect(await formats(fleet)).toEqual(allOf(extended));

    // A lost record is rebuilt with the format.
    await rm(lab.path('fleets', fleet, 'fleet.json'));
    await lab.ok('status', fleet, '--recover');
    expect((await record(fleet)).spec.overlay).toEqual(extended);
    const changed = await lab.ok('spawn', fleet, '--overlay', 'extended-l2=off', '--no-start');
    expect(changed.notes).toContain('new disks have 64 KiB clusters; existing ones keep their format until a reset');
    expect(await formats(fleet)).toEqual(allOf(extended));
    expect((await lab.ok('spawn', fleet, '--no-start')).counts).toMatchObject({ unchanged: 2 });
    await lab.ok('compact', fleet);
    expect(await formats(fleet)).toEqual(allOf(extended));
    await lab.ok('reset', fleet, '2');
    expect(await formats(fleet)).toEqual([extended, extended, formerOverlayFormat, formerOverlayFormat]);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('is the default one for a fleet that asks for no other, and not for snapshots of other domains', async () => {
    const fleet = await lab.spawned('default', await lab.golden('two.qcow2'), 1, '--no-start');
    expect([await formatOf(lab.overlay(fleet, `${fleet}-001`)), (await record(fleet)).spec.overlay]).toEqual(
      Array(2).fill(defaultOverlayFormat),
    );
    await lab.ok('teardown', fleet, '--yes');

    const domain = await ForeignDomain.define(lab, 'subclusters', ['qcow2']);
    const original = domain.disks[0]?.path ?? '';
    const options = 'cluster_size=128k,extended_l2=on';
    await execa('qemu-img', ['convert', '-O', 'qcow2', '-o', options, original, `${original}.new`]);
    await execa('mv', [`${original}.new`, original]);
    expect([await domain.boot(), await formatOf(original)]).toEqual([1, extended]);
    for (const [generation, verb] of [
      ['take', '--name', 'clean'],
      ['rollback', '--yes'],
      ['commit', '--yes'],
    ].entries()) {
      const [name = '', ...more] = verb;
      await lab.ok('snapshot', name, domain.name, ...more);
      const { path } = await domain.disk('vda');
      expect([name, await formatOf(path)]).toEqual([name, path === original ? extended : formerOverlayFormat]);
      // A rollback discards the second boot, a commit keeps it.
      expect([name, await domain.boot()]).toEqual([name, generation < 2 ? 2 : 3]);
    }
  });
});
