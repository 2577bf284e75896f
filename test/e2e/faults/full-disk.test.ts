import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, guest, Lab, until, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';
import { SmallStore } from '../../support/small-store.js';
import { buildWriter } from '../../support/writer.js';

const freeSome = /disk is full|Free some space/;

/** A store of a few MiB fills up: nothing incomplete stays, no guest is stopped, and work continues once there is space. */
describe('a full disk', () => {
  let lab: Lab;
  let small: SmallStore;
  let golden: string;

  beforeAll(async () => {
    lab = await Lab.open();
    small = await SmallStore.mount(lab, 16 * 1024);
    golden = await lab.golden('golden.qcow2');
    await buildWriter(join(lab.scratch, 'writer.qcow2'), 2);
    await lab.ok('base', 'add', golden);
    await lab.ok('base', 'add', join(lab.scratch, 'writer.qcow2'));
  });

  afterEach(() => small.release());

  afterAll(async () => {
    await small.remount('rw');
    // Stop its guests first: they keep the file system busy.
    await lab.close().catch(() => undefined);
    await small.unmount();
    await lab.close();
  });

  const spawning = (fleet: string, ...more: string[]): string[] => [
    'spawn',
    fleet,
    '--base',
    'golden',
    '--count',
    '3',
    '--force',
    ...guest,
    ...more,
  ];

  /** An error or an outcome with a hint. */
  function expectRefusal({ exitCode, json }: Answer): void {
    expect([3, 8], JSON.stringify(json)).toContain(exitCode);
    expect(json.error.hint).toMatch(freeSome);
  }

  it.each([0, 32, 160])('with %i KiB left stops a spawn before anything is created', async (kib) => {
    const fleet = lab.fleet(`spawn${kib}`);
    await small.leave(kib);
    expectRefusal(await lab.cowherd(...spawning(fleet, '--seed', 'nocloud', '--no-start'), '--json'));
    expect(await lab.world(fleet)).toEqual({ members: [], files: [], recorded: undefined });
    expect(await small.leftovers()).toEqual([]);
    await small.release();
    if (kib !== 160) return;
    expect((await lab.ok(...spawning(fleet, '--seed', 'nocloud', '--no-start'))).counts).toMatchObject({ created: 3, failed: 0 });
    await small.leave(0);
    // Commands that free space need no space.
    expect((await lab.ok('teardown', fleet, '--yes')).counts).toMatchObject({ removed: 3, failed: 0 });
    expect(await lab.world(fleet)).toEqual({ members: [], files: [], recorded: undefined });
  });

  longIt('allows a teardown that was killed at its end to be repeated', async () => {
    const fleet = lab.fleet('end');
    const template = join(lab.scratch, 'user-data.hbs');
    await writeFile(template, '#cloud-config\n');
    for (let point = 1; ; point++) {
      await lab.ok(...spawning(fleet, '--seed', 'nocloud', '--user-data', template, '--no-start'));
      await small.leave(0);
      const faults = { KILL_ON: `^unlink .*/${fleet}/[^/]+$`, KILL_AT: String(point) };
      const { signal } = await lab.faulty(faults, 'teardown', fleet, '--yes');
      if (signal !== 'SIGKILL') {
        expect(point).toBeGreaterThan(4);
        break;
      }
      const left = await readdir(lab.path('fleets', fleet));
      const { exitCode } = await lab.answer('teardown', fleet, '--yes');
      expect([point, left, exitCode]).toEqual([point, left, 0]);
      expect(await lab.world(fleet)).toEqual({ members: [], files: [], recorded: undefined });
      await small.release();
    }
  });

  it('that is read-only is detected before anything is changed', async () => {
    const fleet = lab.fleet('readonly');
    await small.remount('ro');
    try {
      const { exitCode, json } = await lab.answer(...spawning(fleet));
      // --force skips the check, and then the file system refuses.
      expect(exitCode).toBe(8);
      expect(json.error.hint).toContain('read-only');
      const unforced = await lab.answer('spawn', fleet, '--base', 'golden', '--count', '3');
      expect(unforced.exitCode).toBe(3);
      expect(unforced.json.error).toMatchObject({
        code: 'PREFLIGHT_FAILED',
        message: expect.stringContaining('read-only'),
        hint: expect.stringContaining('remount'),
      });
      expect((await lab.answer('base', 'add', golden, '--name', 'other')).json.error.hint).toContain('read-only');
    } finally {
      await small.remount('rw');
    }
    expect((await lab.ok(...spawning(fleet, '--no-start'))).counts).toMatchObject({ created: 3, failed: 0 });
    await lab.ok('teardown', fleet, '--yes');
  });

  it('leaves members running if the fleet cannot be reset or enlarged', async () => {
    const fleet = lab.fleet('reset');
    await lab.ok(...spawning(fleet, '--wait', 'console=^OK'));
    const before = await lab.world(fleet);
    const pids = (): Promise<string> => virsh('domstats', '--state', '--vcpu', ...[1, 2, 3].map((index) => `${fleet}-00${index}`));
    const lives = (await pids()).match(/exits|time/g)?.length;
    for (const kib of [0, 150]) {
      await small.leave(kib);
      for (const verb of [
        ['reset', fleet],
        ['spawn', fleet, '--count', '9', '--force'],
      ]) {
        expectRefusal(await lab.cowherd(...verb, '--json'));
        expect(await lab.world(fleet)).toEqual(before);
        expect((await pids()).match(/exits|time/g)?.length).toBe(lives);
        expect(await small.leftovers()).toEqual([]);
      }
    }
    await small.release();
    expect((await lab.ok('reset', fleet)).counts).toMatchObject({ reset: 3, started: 3, failed: 0 });
    await lab.ok('teardown', fleet, '--yes');
  });

  longIt('never imports or exports part of a base image, and leaves overlays unchanged', async () => {
    const fleet = lab.fleet('image');
    const large = await lab.golden('large.qcow2', { filledMiB: 1 });
    await lab.ok(...spawning(fleet, '--wait', 'console=^OK', '--timeout', '30s'));
    await lab.ok('stop', fleet, '--force', '--timeout', '1s');
    for (const kib of [0, 800]) {
      await small.leave(kib);
      expectRefusal(await lab.cowherd('base', 'add', large, '--json'));
      if (kib === 800) continue;
      expectRefusal(await lab.cowherd('promote', `${fleet}-001`, '--as', 'half', '--json'));
      expectRefusal(await lab.cowherd('promote', `${fleet}-001`, '--as', 'half', '--layered', '--json'));
      expect(await small.leftovers()).toEqual([]);
    }
    expect((await lab.ok('base', 'list')).bases.map((base: { name: string }) => base.name)).toEqual(['golden', 'writer']);
    await small.release();
    await lab.ok('base', 'add', large);
    await small.leave(16);
    // An overlay that is rebased with changed blocks has to grow.
    const rebase = await lab.answer('rebase', fleet, '--base', 'large', '--keep-drift');
    expect([3, 4, 8]).toContain(rebase.exitCode);
    expect(JSON.stringify(rebase.json)).toMatch(freeSome);
    await small.release();
    const { json } = await lab.answer('resume', fleet);
    if (json.operation?.verb === 'resume') await lab.ok('rebase', fleet, '--base', 'large', '--keep-drift');
    await lab.ok('stop', fleet, '--force', '--timeout', '1s');
    for (const index of [1, 2, 3]) {
      const name = `${fleet}-00${index}`;
      expect((await execa('qemu-img', ['check', '-q', lab.overlay(fleet, name)], { reject: false })).exitCode).toBe(0);
      expect((await lab.marker(fleet, name))?.boots).toBeGreaterThan(0);
    }
    await lab.ok('teardown', fleet, '--yes');
  });

  it('pauses guests, which status shows, and start resumes them', async () => {
    const fleet = lab.fleet('paused');
    await lab.ok('spawn', fleet, '--base', 'writer', '--count', '4', '--force', '--no-start', ...guest);
    const [one, two, three, four] = [1, 2, 3, 4].map((index) => `${fleet}-00${index}`) as [string, string, string, string];
    await small.leave(1024);
    await lab.ok('start', fleet, '1');
    const rows = async (): Promise<any[]> => (await lab.ok('status', fleet)).members;
    await until('the guest to be paused', async () => (await rows())[0].reason === 'I/O error');
    await small.release();
    await lab.ok('start', fleet, '2-3', '--wait', 'console=^D', '--timeout', '30s');
    await virsh('suspend', two);
    // Like a crash or the OOM killer.
    process.kill(Number((await execa('cat', [`/run/libvirt/qemu/${three}.pid`])).stdout), 'SIGKILL');
    await until('libvirt to notice', async () => (await rows())[2].state === 'shutOff');

    const told = await rows();
    expect(told.map(({ state, reason }) => [state, reason])).toEqual([
      ['paused', 'I/O error'],
      ['paused', 'by the user'],
      ['shutOff', 'crashed'],
      ['shutOff', 'unknown'],
    ]);
    expect(told[0]).toMatchObject({
      hint: expect.stringContaining(`cowherd start ${fleet}`),
      problems: ['paused by an I/O error (vda: no space)'],
    });
    expect(told[1].hint).toContain('a user paused');
    expect(told[2].hint).toContain('QEMU ended unexpectedly');
    expect(told[3].hint).toBeNull();
    const text = (await lab.cowherd('status', fleet)).stdout;
    expect(text).toContain('paused by an I/O error (vda: no space)');
    expect(text).toMatch(/→ 1: free some space/);

    // While the disk is full, report and start say so.
    await small.leave(0);
    expect((await lab.cowherd('report', fleet)).stdout).toMatch(/! Only 0 B of .* free on the disk/);
    const again = await lab.answer('start', fleet, '1');
    expect(again.exitCode).toBe(4);
    expect(again.json.members[0].error).toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('no space'),
      hint: expect.stringMatching(freeSome),
    });
    const stop = await lab.answer('stop', fleet, '1');
    expect(stop.exitCode).toBe(4);
    expect(stop.json.members[0].error).toMatchObject({ code: 'NOT_STOPPED', hint: expect.stringContaining('--force') });
    expect(stop.json.operation.seconds).toBeLessThan(20);

    await small.release();
    const resumed = await lab.ok('start', fleet, '1-2', '--wait', 'console=^D', '--timeout', '60s');
    expect(resumed.counts).toMatchObject({ started: 2, failed: 0 });
    expect((await rows()).map(({ state }) => state)).toEqual(['running', 'running', 'shutOff', 'shutOff']);

    // When it is paused again, a reset cleans it, and a forced stop turns it off.
    await lab.ok('stop', fleet, '1-2', '--force', '--timeout', '1s');
    await lab.ok('reset', fleet, '--start', 'none');
    await small.leave(1024);
    await lab.ok('start', fleet, '4');
    await until('the guest to be paused', async () => (await rows())[3].reason === 'I/O error');
    await lab.ok('stop', fleet, '4', '--force');
    expect((await rows())[3]).toMatchObject({ state: 'shutOff', reason: 'destroyed' });
    expect(one).not.toBe(four);
    await small.release();
    await lab.ok('teardown', fleet, '--yes');
  });
});
