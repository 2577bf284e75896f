import { chmod, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { follow } from '../../support/hints/follow.js';
import { type Answer, bin, guest, Lab, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Paths that QEMU's user may not access are found before anything is stopped, and the hint opens them. */
describe('permissions of files and directories', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
  });
  afterAll(() => lab.close());

  const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o7777;

  /** The umask of users on a hardened host. */
  async function under(umask: string, ...args: string[]): Promise<Answer> {
    const words = [...args, '--json'];
    const {
      exitCode = -1,
      stdout,
      stderr,
    } = await execa('sh', ['-c', `umask ${umask}; exec "$@"`, 'sh', process.execPath, bin, ...words], {
      env: lab.env,
      reject: false,
    });
    return { exitCode, stdout, stderr, json: JSON.parse(stdout) };
  }

  longIt('does not depend on the umask', async () => {
    const umask = '077';
    const store = ['--store', lab.path(`under-${umask}`)];
    await mkdir(lab.path(`under-${umask}`));
    await writeFile(lab.path(`under-${umask}`, 'accelerator.json'), inject('accelerator'));
    const fleet = lab.fleet(`umask${umask}`);
    const spawned = await under(umask, 'spawn', fleet, '--base', golden, '--count', '1', ...guest, '--wait', 'console=^OK', ...store);
    expect([spawned.exitCode, spawned.json.counts]).toMatchObject([0, { created: 1, started: 1, failed: 0 }]);
    for (const part of ['', 'bases', 'fleets', `fleets/${fleet}`, `fleets/${fleet}/overlays`])
      expect([part, await mode(lab.path(`under-${umask}`, part))]).toEqual([part, 0o755]);
    expect(await mode(lab.path(`under-${umask}`, 'fleets', fleet, 'fleet.json'))).toBe(0o644);

    const domain = await ForeignDomain.define(lab, `umask${umask}`, ['qcow2'], { ending: 'halt' });
    await domain.start();
    const taken = await under(umask, 'snapshot', 'take', domain.name, '--yes', '--force', '--timeout', '1s', ...store);
    expect([taken.exitCode, taken.json.startedAgain]).toEqual([0, true]);
    await domain.stop();
    await lab.ok('teardown', fleet, '--yes', ...store);
  });

  it('finds a closed directory before it stops anything, and the hint opens it', async () => {
    const fleet = lab.fleet('closed');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest);
    const closed = [lab.path('fleets'), lab.path('fleets', fleet, 'overlays')];
    for (const path of closed) await chmod(path, 0o700);
    const doctor = (await lab.answer('doctor')).json.checks.find((check: { name: string }) => check.name === 'store reachable by QEMU');
    expect(doctor).toMatchObject({ status: 'failed', message: expect.stringContaining(closed[0] ?? '') });
    for (const verb of [
      ['reset', fleet],
      ['rebase', fleet, '--base', await lab.golden('newer.qcow2', { filledMiB: 1 })],
      ['spawn', fleet, '--count', '3'],
    ]) {
      const { exitCode, json } = await lab.answer(...verb);
      expect([verb[0], exitCode, json.error]).toEqual([
        verb[0],
        3,
        expect.objectContaining({
          code: 'PREFLIGHT_FAILED',
          message: expect.stringMatching(/libvirt-qemu \(uid \d+\) has no search permission/),
        }),
      ]);
      expect(json.error.hint).toContain(`chmod o+x ${closed.join(' ')}`);
    }
    for (const name of [`${fleet}-001`, `${fleet}-002`]) expect((await virsh('domstate', name)).trim()).toBe('running');
    await follow(lab, doctor.hint);
    const { checks } = await lab.ok('doctor');
    expect(checks.find((check: { name: string }) => check.name === 'store reachable by QEMU').status).toBe('ok');
    expect((await lab.ok('reset', fleet)).counts).toMatchObject({ reset: 2, started: 2, failed: 0 });
    await lab.ok('teardown', fleet, '--yes');
  });

  it('finds a base image that QEMU may not read before a reset stops anything', async () => {
    const fleet = lab.fleet('unread');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '1', ...guest);
    const { path } = await lab.ok('base', 'inspect', 'golden');
    await chmod(path, 0o400);
    const { exitCode, json } = await lab.answer('reset', fleet);
    expect([exitCode, json.error.message]).toEqual([3, expect.stringMatching(new RegExp(`${path}.*has no read permission`))]);
    expect((await virsh('domstate', `${fleet}-001`)).trim()).toBe('running');
    await follow(lab, json.error.hint);
    expect((await lab.ok('reset', fleet)).counts).toMatchObject({ reset: 1, started: 1 });
    await lab.ok('teardown', fleet, '--yes');
  });

  it('leaves a domain running if QEMU could not access its snapshot', async () => {
    const domain = await ForeignDomain.define(lab, 'reach', ['qcow2'], { ending: 'power-button' });
    await domain.start();
    await mkdir(lab.path('snapshots'), { recursive: true });
    await chmod(lab.path('snapshots'), 0o700);
    const { exitCode, json } = await lab.answer('snapshot', 'take', domain.name, '--yes');
    expect([exitCode, json.error.code]).toEqual([3, 'PREFLIGHT_FAILED']);
    expect(await domain.state()).toBe('running');
    await follow(lab, json.error.hint);
    expect((await lab.ok('snapshot', 'take', domain.name, '--yes')).startedAgain).toBe(true);
    await domain.stop();
    await rm(lab.path('snapshots'), { recursive: true });
  });
});
