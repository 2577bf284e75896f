import { mkdir, rm, rmdir } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, describe, expect, it, vi } from 'vitest';
import type { FleetEvent } from '../../../src/core/events/fleet-event.js';
import { Lab, virsh } from '../../support/lab.js';

/** `cowherd events` reports what other processes do: commands of cowherd, virsh, and libvirt itself. */
describe('events', () => {
  const lab = Lab.use();
  const fleet = lab.fleet('told');
  const [first, second] = [`${fleet}-001`, `${fleet}-002`];
  const watches: Array<ReturnType<Lab['begin']>> = [];
  afterAll(() => {
    for (const watch of watches) watch.kill('SIGKILL');
  });

  /** Events of one process, as they come. */
  function watch(...more: string[]): FleetEvent[] {
    const events: FleetEvent[] = [];
    const run = lab.begin('events', '--json', ...more);
    watches.push(run);
    let rest = '';
    run.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      events.push(...lines.map((line) => JSON.parse(line) as FleetEvent));
    });
    return events;
  }

  /** The pid of the virsh that reads libvirt's events. */
  const eventsProcess = async (pid: number | undefined): Promise<string> =>
    (await execa('pgrep', ['-P', String(pid), '-f', 'virsh.*event'], { reject: false })).stdout.split('\n')[0] ?? '';

  const told = (events: FleetEvent[], wanted: Partial<FleetEvent>): Promise<void> =>
    vi.waitFor(() => expect(events).toContainEqual(expect.objectContaining(wanted)), { timeout: 20_000, interval: 50 });

  it('report commands, their members and states, whatever causes them', async () => {
    const base = await lab.golden('told.qcow2');
    const all = watch();
    // Without --initial there is no first line.
    await vi.waitFor(async () => expect(await eventsProcess(watches[0]?.pid)).not.toBe(''), { timeout: 10_000 });
    await execa('sleep', ['1']);
    await lab.spawned('told', base, 2);
    await told(all, { fleet, what: 'fleet', to: 'present' });
    await told(all, { member: second, what: 'progress', to: 'done', operation: { verb: 'spawn', id: expect.any(String) } });
    await told(all, { member: second, what: 'state', to: 'running' });
    await told(all, { fleet, member: null, what: 'command', to: 'done' });

    await virsh('suspend', first);
    await told(all, { member: first, what: 'state', from: 'running', to: 'paused', operation: null, reason: 'paused' });
    await virsh('resume', first);
    await lab.ok('checkpoint', fleet, '1');
    await told(all, { member: first, what: 'checkpoint', from: null, to: expect.stringMatching(/^20.*Z$/) });
    await lab.ok('reset', fleet, '1', '--warm');
    await told(all, { member: first, what: 'progress', to: 'done', operation: { verb: 'reset', id: expect.any(String) } });
    await virsh('destroy', second);
    await told(all, { member: second, what: 'state', from: 'running', to: 'shutOff', reason: 'destroyed' });
    await lab.ok('start', fleet, '2');
    // A command without a journal may end before its lock was read.
    await told(all, { member: second, what: 'state', from: 'shutOff', to: 'running' });
  });

  it('begin with the current state if asked', async () => {
    const events = watch(fleet, '--initial');
    await told(events, { member: second, what: 'state', from: null, to: 'running' });
    expect(events.filter(({ what }) => what === 'fleet' || what === 'checkpoint')).toMatchObject([
      { fleet, from: null, to: 'present' },
      { member: first, from: null },
    ]);
    expect(events.every(({ fleet: of }) => of === fleet)).toBe(true);
  });

  it('report a failed member, and a command that was killed', async () => {
    const events = watch(fleet, '--initial');
    await told(events, { member: second, what: 'state', from: null });
    await virsh('destroy', second);
    await rm(lab.overlay(fleet, second));
    await mkdir(lab.overlay(fleet, second));
    expect((await lab.answer('reset', fleet, '2')).exitCode).toBe(4);
    await told(events, { member: second, what: 'progress', to: 'failed', reason: 'STORE_FAILED' });
    await rmdir(lab.overlay(fleet, second));
    const { signal } = await lab.faulty({ KILL_ON: '^rename .*qcow2.new', KILL_AT: '1' }, 'reset', fleet, '2', '--start', 'all');
    expect(signal).toBe('SIGKILL');
    await told(events, { fleet, what: 'command', to: 'interrupted', operation: { verb: 'reset', id: expect.any(String) } });
    await lab.ok('resume', fleet);
    await told(events, { fleet, what: 'command', from: 'interrupted' });
    await told(events, { member: second, what: 'progress', to: 'done' });
  });

  it('continue after the connection was lost, with the changes in between', async () => {
    const events = watch(fleet);
    const { pid } = watches.at(-1) ?? {};
    await vi.waitFor(async () => expect(await eventsProcess(pid)).not.toBe(''), { timeout: 10_000 });
    await execa('sleep', ['1']);
    await execa('kill', ['-9', await eventsProcess(pid)]);
    await virsh('destroy', first);
    await told(events, { what: 'connection', to: 'disconnected' });
    await told(events, { what: 'connection', to: 'connected' });
    await told(events, { member: first, what: 'state', from: 'running', to: 'shutOff', reason: 'destroyed' });
    await lab.ok('teardown', fleet, '--yes');
    await told(events, { fleet, what: 'fleet', from: 'present', to: 'missing' });
  });
});
