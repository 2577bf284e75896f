import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, watch, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBootMarker } from '../../../src/core/image/boot-sector.js';
import { guest, Lab, until, virsh } from '../../support/lab.js';

const ready = ['--wait', 'console=^OK'];

/** Promotes, exports, prunes and compacts disks of real domains. */
describe('promote, export, prune and compact', () => {
  let lab: Lab;
  let golden: string;
  let fleet: string;
  const first = (): string => `${fleet}-001`;
  const second = (): string => `${fleet}-002`;
  const sha256 = async (path: string): Promise<string> =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
  const bases = async (): Promise<any[]> => (await lab.ok('base', 'list')).bases;
  const base = async (name: string): Promise<any> => (await bases()).find((item) => item.name === name);
  const io = (path: string, ...commands: string[]) =>
    execa('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path]);
  const partials = async (): Promise<string[]> =>
    (await readdir(lab.store, { recursive: true })).filter((name) => /partial|\.compact-/.test(name));

  beforeAll(async () => {
    lab = await Lab.open();
    // Large enough to interrupt a copy of it.
    golden = await lab.golden('golden.qcow2', { ending: 'power-button', filledMiB: 48 });
    fleet = lab.fleet('lab');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, ...ready);
  });
  afterAll(() => lab.close());

  it('refuses a running member, with a hint', async () => {
    const refused = await lab.answer('promote', first(), '--as', 'next');
    expect(refused.exitCode).toBe(3);
    expect(refused.json.error).toMatchObject({ code: 'NOT_OFF', hint: expect.stringContaining(`cowherd stop ${fleet} 1`) });
    expect((await lab.answer('promote', first(), '--as', 'No/Name')).json.error.code).toBe('BAD_USAGE');
    expect((await lab.answer('promote', `${fleet}-009`, '--as', 'next')).exitCode).toBe(5);
    expect(await base('next')).toBeUndefined();
  });

  it('does not shut a member down if the promotion will be refused', async () => {
    const started = async (): Promise<string> => readFile(`/run/libvirt/qemu/${first()}.pid`, 'utf8');
    const before = await started();
    const refused = async (): Promise<any> => (await lab.answer('promote', first(), '--as', 'next', '--stop')).json.error;
    await lab.ok('checkpoint', fleet, '1');
    expect(await refused()).toMatchObject({ code: 'BASE_REFUSED', hint: expect.stringContaining(`cowherd checkpoint ${fleet} 1 --drop`) });
    await lab.ok('checkpoint', fleet, '1', '--drop');
    // And a foreign domain.
    await virsh('snapshot-create-as', first(), 'own');
    expect(await refused()).toMatchObject({ code: 'BASE_REFUSED', hint: expect.stringContaining('virsh snapshot-delete') });
    await virsh('snapshot-delete', first(), 'own');
    expect(await started()).toBe(before);
  });

  it('creates a base image from a disk: the member starts again, and a fleet on the new image has its content', async () => {
    const before = await sha256((await base('golden')).path);
    const promoted = await lab.ok('promote', first(), '--as', 'next', '--stop');
    expect(promoted).toMatchObject({ name: 'next', how: 'flattened', depth: 1, promotedFrom: { fleet, member: first() } });
    expect(promoted.notes.join()).toContain('started again');
    expect((await virsh('domstate', first())).trim()).toBe('running');
    expect((await stat(promoted.path)).mode & 0o777).toBe(0o440);
    expect(await sha256((await base('golden')).path)).toBe(before);
    expect((await lab.ok('base', 'verify', 'golden')).digest).toBe(before);

    const child = lab.fleet('next');
    await lab.ok('spawn', child, '--base', 'next', '--count', '1', ...guest, ...ready);
    await lab.ok('stop', child);
    expect((await lab.marker(child, `${child}-001`))?.boots).toBe(2);
    await lab.ok('stop', fleet);
    // The restarted member has booted twice on its own disk; the other one once.
    expect((await lab.marker(fleet, first()))?.boots).toBe(2);
    expect((await lab.marker(fleet, second()))?.boots).toBe(1);

    // Members are reset to their own base image: the new image does not affect them.
    const inUse = await lab.answer('base', 'remove', 'next');
    expect(inUse.json.error).toMatchObject({ code: 'BASE_IN_USE', message: expect.stringContaining(child) });
    await lab.ok('teardown', child, '--yes');
  });

  it('an exported image boots standalone', async () => {
    const file = join(lab.scratch, 'alone.qcow2');
    expect(await lab.ok('base', 'export', 'next', file)).toMatchObject({ format: 'qcow2', layers: 1 });
    expect((await lab.answer('base', 'export', 'next', file)).exitCode).toBe(2);
    const { stdout } = await execa('qemu-img', ['info', '--output=json', file]);
    expect(JSON.parse(stdout)['backing-filename']).toBeUndefined();
    const name = `cwt-alone-${lab.id}-1`;
    const xml = join(lab.scratch, 'alone.xml');
    const disk = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${file}'/><target dev='vda' bus='virtio'/></disk>`;
    await writeFile(
      xml,
      `<domain type='qemu'><name>${name}</name><memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices>${disk}</devices></domain>`,
    );
    await virsh('create', xml);
    const boots = async (): Promise<number | undefined> => {
      // The guest has it open: read only.
      const raw = join(lab.scratch, 'alone.raw');
      await execa('qemu-img', ['dd', '-U', '-f', 'qcow2', '-O', 'raw', 'bs=512', 'skip=1', 'count=2', `if=${file}`, `of=${raw}`]);
      return readBootMarker((await readFile(raw)).subarray(0, 512))?.boots;
    };
    await until('the exported image to boot', async () => (await boots()) === 2);
    await virsh('destroy', name);
    await rm(file);
  });

  it('promotes as a layer, whose backing image cannot be removed', async () => {
    const promoted = await lab.ok('promote', fleet, '1', '--as', 'layer', '--layered');
    const { ref } = await base('golden');
    expect(promoted).toMatchObject({ how: 'layered', depth: 2, layers: [ref] });
    expect(promoted.allocatedBytes).toBeLessThan(1024 ** 2);
    await execa('qemu-img', ['compare', lab.overlay(fleet, first()), promoted.path]);
    expect((await lab.cowherd('base', 'list')).stdout).toContain('DEPTH');
    expect((await lab.ok('base', 'verify', 'layer')).layers).toEqual([ref]);
    const inUse = await lab.answer('base', 'remove', 'golden');
    expect(inUse.json.error).toMatchObject({ code: 'BASE_IN_USE', message: expect.stringContaining(promoted.ref) });

    const { images } = await lab.ok('base', 'history');
    expect(images).toHaveLength(1);
    expect(images[0]).toMatchObject({ name: 'golden', from: { file: golden } });
    expect(images[0].promotedTo.map(({ name, layered }: any) => [name, layered])).toEqual([
      ['next', false],
      ['layer', true],
    ]);
    expect((await lab.cowherd('base', 'history', 'layer')).stdout).toContain(`└─ ${promoted.ref}`);
    expect((await lab.answer('base', 'history', 'nonesuch')).exitCode).toBe(5);
  });

  it('refuses a disk that cowherd did not create, and a foreign member', async () => {
    const refusal = async (): Promise<string> => {
      const { json } = await lab.answer('promote', second(), '--as', 'bad');
      return json.error?.code ?? 'done';
    };
    await virsh('snapshot-create-as', second(), '--name', 's', '--disk-only', '--no-metadata');
    expect(await refusal()).toBe('BASE_REFUSED');
    expect((await lab.answer('compact', fleet, '2')).json).toMatchObject({
      counts: { failed: 1 },
      members: [{ error: { code: 'BASE_REFUSED', message: expect.stringContaining('no longer uses its own disks') } }],
    });
    await lab.ok('teardown', fleet, '2', '--yes');
    await rm(lab.overlay(fleet, second()).replace('.qcow2', '.s'), { force: true });
    await lab.ok('spawn', fleet, '--count', '2', ...ready);
    // With saved memory, the disk alone is inconsistent, as after a power failure.
    await virsh('managedsave', second());
    expect(await refusal()).toBe('NOT_OFF');
    await virsh('managedsave-remove', second());
    await execa('qemu-img', ['snapshot', '-c', 'mine', lab.overlay(fleet, second())]);
    expect(await refusal()).toBe('BASE_REFUSED');
    await lab.ok('reset', fleet, '2', '--start', 'none');
    await virsh('metadata', second(), 'urn:cowherd:domain:1', '--remove');
    expect(await refusal()).toBe('FOREIGN_DOMAIN');
    await virsh('undefine', second());
    expect(await refusal()).toBe('MEMBER_NOT_FOUND');
    await lab.ok('spawn', fleet, ...ready);
    expect(await base('bad')).toBeUndefined();
  });

  it('after a kill -9 nothing is incomplete, and promoting again works', async () => {
    await lab.ok('stop', fleet, '1');
    const interrupted = lab.begin('promote', first(), '--as', 'killed');
    await until('a partial file', async () => (await partials()).length > 0);
    interrupted.kill('SIGINT');
    expect((await interrupted).exitCode).toBe(130);
    expect(await partials()).toEqual([]);
    const run = lab.begin('promote', first(), '--as', 'killed');
    await until('a partial file', async () => (await partials()).length > 0);
    run.kill('SIGKILL');
    await run;
    await lab.unlocked();
    expect(await base('killed')).toBeUndefined();
    const again = await lab.ok('promote', first(), '--as', 'killed');
    await execa('qemu-img', ['compare', lab.overlay(fleet, first()), again.path]);
    expect(await partials()).toEqual([]);
    await lab.ok('base', 'remove', 'killed');
  });

  it('compacts overlays of stopped members without changing their content', async () => {
    const path = lab.overlay(fleet, first());
    await io(path, 'write -P 0x11 52M 10M', 'write -P 0 52M 9M', 'write -P 0 8M 8M', 'write -P 0x22 16M 24M');
    const copy = join(lab.scratch, 'before.qcow2');
    await execa('cp', [path, copy]);
    const seen = watch(dirname(path), { signal: AbortSignal.timeout(60_000) });
    const run = lab.begin('compact', fleet);
    for await (const { filename } of seen) if (filename?.startsWith('.compact-')) break;
    run.kill('SIGKILL');
    await run;
    await lab.unlocked();
    expect(await partials()).toHaveLength(1);
    await execa('qemu-img', ['compare', path, copy]);

    // The other member is running: skipped, or a failure if it is named.
    const result = await lab.ok('compact', fleet);
    expect(result.counts).toMatchObject({ compacted: 1, skipped: 1, failed: 0 });
    expect(result.members[0]).toMatchObject({ name: first(), outcome: 'compacted' });
    expect(result.freedBytes).toBeGreaterThan(16 * 1024 ** 2);
    expect(await partials()).toEqual([]);
    await execa('qemu-img', ['compare', path, copy]);
    const named = await lab.answer('compact', fleet, '1-2');
    expect(named.exitCode).toBe(4);
    expect(named.json.counts).toMatchObject({ unchanged: 1, failed: 1 });
    expect(named.json.members[1].error.code).toBe('NOT_OFF');

    const before = (await lab.marker(fleet, first()))?.boots ?? 0;
    await lab.ok('start', fleet, '1', ...ready);
    await lab.ok('stop', fleet, '1');
    expect((await lab.marker(fleet, first()))?.boots).toBe(before + 1);
    // Leftovers of a crash do not keep a fleet's directory.
    await writeFile(lab.path('fleets', fleet, 'overlays', '.compact-0123456789ab.qcow2'), 'torn');
    expect((await lab.ok('teardown', fleet, '--yes')).notes).toEqual([]);
  });

  it('prunes only unused images, and lists them first', async () => {
    const child = lab.fleet('kept');
    await lab.ok('spawn', child, '--base', 'next', '--count', '1', ...guest);
    const dry = await lab.ok('base', 'prune');
    expect(dry).toMatchObject({ dryRun: true, kept: 1 });
    expect(dry.images.map(({ name }: { name: string }) => name)).toEqual(['layer', 'golden']);
    expect((await lab.ok('base', 'prune', '--keep-newest')).images).toEqual([]);
    expect(await bases()).toHaveLength(3);
    // A fleet that cannot be read may use any of them.
    const record = lab.path('fleets', child, 'fleet.json');
    const text = await readFile(record, 'utf8');
    await writeFile(record, '{');
    expect((await lab.answer('base', 'prune', '--yes')).json.error.code).toBe('BASE_IN_USE');
    await writeFile(record, text);
    expect(await lab.ok('base', 'prune', '--yes')).toMatchObject({ dryRun: false, freedBytes: dry.freedBytes });
    expect((await bases()).map(({ name }) => name)).toEqual(['next']);
    const { images } = await lab.ok('base', 'history');
    expect(images).toMatchObject([{ name: 'golden', importedAt: null, promotedTo: [{ name: 'next' }] }]);
    await lab.ok('teardown', child, '--yes');
    expect((await lab.ok('base', 'prune', '--yes')).images).toHaveLength(1);
    expect(await bases()).toEqual([]);
  });
});
