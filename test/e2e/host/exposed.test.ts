import { chmod, chown, lstat, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding } from '../../../src/core/finding.js';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { guest, Lab, virsh } from '../../support/lab.js';

/** Other users of the host cannot read guest data. */
describe('the files of a store', () => {
  let lab: Lab;
  let fleet: string;
  const secret = ['--virt-type', 'qemu', '--seed', 'nocloud', '--wait', 'console=^OK'];
  beforeAll(async () => {
    lab = await Lab.open();
    fleet = lab.fleet('private');
  });
  afterAll(() => lab.close());

  const imagePath = async (name: string): Promise<string> => (await lab.ok('base', 'inspect', name)).path;
  const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o7777).toString(8);
  /** Runs as an unrelated user. */
  const canBeRead = async (path: string): Promise<boolean> =>
    (await execa('runuser', ['-u', 'nobody', '--', 'head', '-c', '1', path], { reject: false })).exitCode === 0;

  /** Files that others may read. */
  async function open(): Promise<string[]> {
    const names = await readdir(lab.store, { recursive: true });
    const files = await Promise.all(names.map(async (name) => ({ name, stats: await lstat(join(lab.store, name)) })));
    return files.filter(({ stats }) => stats.isFile() && (stats.mode & 0o007) !== 0).map(({ name }) => name);
  }

  it('are readable only by their owner and QEMU with any umask, except records without secrets', async () => {
    const umask = process.umask(0);
    try {
      const golden = await lab.golden('golden.qcow2', { filledMiB: 4 });
      const other = await lab.golden('other.qcow2', { filledMiB: 1 });
      await chmod(golden, 0o600);
      await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, ...secret);
      await lab.ok('stop', fleet, '1', '--force', '--timeout', '1s');
      await lab.ok('compact', fleet, '1');
      await lab.ok('promote', fleet, '1', '--as', 'whole');
      await lab.ok('promote', fleet, '1', '--as', 'layer', '--layered');
      const domain = await ForeignDomain.define(lab, 'foreign', ['qcow2']);
      await chmod(domain.disks[0]?.path ?? '', 0o600);
      await lab.ok('snapshot', 'take', domain.name, '--name', 'clean');
      await lab.ok('spawn', lab.fleet('of'), '--from-domain', domain.name, '--trust-chain', '--count', '1', '--no-start');
      await lab.ok('rebase', lab.fleet('of'), '--base', other);
      const exported = join(lab.scratch, 'exported.qcow2');
      await lab.ok('base', 'export', 'layer', exported);
      expect(await modeOf(exported)).toBe('600');
    } finally {
      process.umask(umask);
    }
    expect((await lab.ok('base', 'list')).bases.length).toBeGreaterThanOrEqual(5);
    const records = /\/([0-9a-f]{12}|fleet)\.json$|\/placed\.log$|\/history\.jsonl$|\/known_hosts$|^accelerator\.json$/;
    expect((await open()).filter((name) => !records.test(name))).toEqual([]);
    for (const name of ['golden', 'whole', 'layer', 'other']) {
      const path = await imagePath(name);
      expect([await modeOf(path), await canBeRead(path)]).toEqual(['440', false]);
    }
  });

  it('of an older version are found and repaired while a guest runs on them', async () => {
    const findings = async (...args: string[]): Promise<Finding[]> => (await lab.answer('verify', ...args)).json.findings;
    const member = `${fleet}-002`;
    /** Makes the running QEMU read data from the base image. It reports the result to the monitor or in its log. */
    const readsBase = async (): Promise<string> => {
      const disk = /libvirt-\d+-format/.exec(await virsh('qemu-monitor-command', member, '--hmp', 'info block'))?.[0];
      const reply = await virsh('qemu-monitor-command', member, '--hmp', `qemu-io ${disk} "read 2M 1M"`);
      // The place of the result differs between releases of QEMU.
      return reply + (await readFile(`/var/log/libvirt/qemu/${member}.log`, 'utf8'));
    };
    const [golden, layer] = [await imagePath('golden'), await imagePath('layer')];
    const inFleet = (...parts: string[]): string => lab.path('fleets', fleet, ...parts);
    const wide = [golden, layer, inFleet('secrets.json'), inFleet('seeds', `${member}.iso`), lab.overlay(fleet, member)];
    expect(await findings()).toEqual([]);
    const { uid } = await stat(inFleet('seeds', `${member}.iso`));
    for (const path of [golden, layer]) {
      await chown(path, 0, 0);
      await chmod(path, 0o444);
    }
    for (const path of wide.slice(2)) await chmod(path, 0o644);
    for (const path of wide) expect(await canBeRead(path)).toBe(true);

    const found = await findings();
    expect(found.map(({ kind, what, fixable, fixed }) => ({ kind, what, fixable, fixed }))).toEqual(
      found.map(({ what }) => ({ kind: 'exposed', what, fixable: true, fixed: false })),
    );
    expect(found.map(({ what }) => what).sort()).toEqual([...wide].sort());
    expect(found[0]?.hint).toContain('cowherd verify');
    expect(await modeOf(golden)).toBe('444');

    expect((await findings('--fix')).filter(({ fixed }) => fixed)).toHaveLength(wide.length);
    expect(await findings()).toEqual([]);
    for (const path of wide) expect(await canBeRead(path)).toBe(false);
    expect((await stat(inFleet('seeds', `${member}.iso`))).uid).toBe(uid);
    expect((await virsh('domstate', member)).trim()).toBe('running');
    expect(await readsBase()).toMatch(/read 1048576\/1048576 bytes/);
    // It is reopened with the permissions of its group.
    expect((await lab.ok('reset', fleet, '2', '--wait', 'console=^OK')).counts).toMatchObject({ reset: 1, started: 1, failed: 0 });

    // If QEMU could not read it, the start would fail.
    await chmod(golden, 0o400);
    expect(await findings('--fix')).toMatchObject([{ kind: 'mismatch', what: golden, fixed: true }]);
    expect(await modeOf(golden)).toBe('440');
  });
});
