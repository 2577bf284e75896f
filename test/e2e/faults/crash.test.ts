import { readFile, stat, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, until } from '../../support/lab.js';
import { isLong } from '../../support/long.js';

const members = isLong ? 10 : 6;
const count = String(members);
/** Each has a seed that must match its overlay. */
const seeded = [...guest, '--seed', 'nocloud'];
/** Slow enough to be killed halfway. */
const slowly = ['--concurrency', '2', '--boot-concurrency', '1'];

/** kill -9 halfway through each command, then resume: the result must be that of an undisturbed run. */
describe('after a crash', () => {
  let lab: Lab;
  let golden: string;
  let undisturbed: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
    undisturbed = lab.fleet('calm');
    await lab.ok('spawn', undisturbed, '--base', golden, '--count', count, ...seeded);
  });
  afterAll(() => lab.close());

  /** Kills a run when some but not all members are done. */
  async function killMidway(fleet: string, signal: NodeJS.Signals, ...args: string[]): Promise<number | undefined> {
    const run = lab.begin(...args, ...slowly);
    const log = lab.path('fleets', fleet, 'operation.log');
    const doneMembers = async (): Promise<number> => (await readFile(log, 'utf8').catch(() => '')).split('\n').length - 1;
    await until(`the first members of ${args[0]}`, async () => (await doneMembers()) >= 3);
    run.kill(signal);
    const { exitCode } = await run;
    await lab.unlocked();
    expect(await doneMembers()).toBeLessThan(members);
    return exitCode;
  }

  it('resumes a spawn', async () => {
    const fleet = lab.fleet('spawn');
    await killMidway(fleet, 'SIGKILL', 'spawn', fleet, '--base', golden, '--count', count, ...seeded);
    const status = await lab.ok('status', fleet);
    expect(status.unfinished).toMatchObject({ verb: 'spawn', total: members });
    expect(status.counts.missing + status.counts.broken + status.counts.shutOff).toBeGreaterThan(0);
    // Other commands refuse and say how to continue.
    const refused = await lab.cowherd('reset', fleet, '--json');
    expect(refused.exitCode).toBe(3);
    expect(refused.json.error).toMatchObject({ code: 'UNFINISHED_OPERATION', hint: expect.stringContaining(`cowherd resume ${fleet}`) });

    const outcome = await lab.ok('resume', fleet);
    expect(outcome.counts.failed).toBe(0);
    expect(await lab.world(fleet)).toEqual(await lab.world(undisturbed));
    // The state after a kill between removing the intent and the log.
    await writeFile(lab.path('fleets', fleet, 'operation.log'), 'done 1\n');
    expect(await lab.cowherd('resume', fleet)).toMatchObject({ exitCode: 0, stdout: `${fleet}: nothing to resume` });
    await expect(stat(lab.path('fleets', fleet, 'operation.log'))).rejects.toThrow();
    await lab.ok('teardown', fleet, '--yes');
  });

  it('resumes a reset, and starts the members that were running', async () => {
    const fleet = lab.fleet('reset');
    await lab.ok('spawn', fleet, '--base', golden, '--count', count, ...seeded, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, `${members - 1}-${members}`, '--timeout', '1s', '--force');
    await killMidway(fleet, 'SIGKILL', 'reset', fleet);
    const outcome = await lab.ok('resume', fleet);
    expect(outcome.counts.failed).toBe(0);
    expect(outcome.counts.reset).toBeLessThan(members);
    const status = await lab.ok('status', fleet);
    expect(status.unfinished).toBeUndefined();
    expect(status.counts).toMatchObject({ running: members - 2, shutOff: 2 });
    // All members have the same new instance, reset before or after the crash.
    const lives = (await readFile(lab.path('fleets', fleet, 'seeds', 'placed.log'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => line.split(' '));
    const latest = new Map(lives.map(([member = '', instance = '']) => [member, instance.slice(member.length)]));
    expect(latest.size).toBe(members);
    expect(new Set(latest.values()).size).toBe(1);
    await lab.ok('start', fleet);
    expect(await lab.world(fleet)).toEqual(await lab.world(undisturbed));
    // Each guest has since booted once from a clean disk.
    await lab.ok('spawn', fleet, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    for (let index = 1; index <= members; index++) {
      expect((await lab.marker(fleet, `${fleet}-${String(index).padStart(3, '0')}`))?.boots).toBe(1);
    }
    await lab.ok('teardown', fleet, '--yes');
  });

  it('resumes a teardown', async () => {
    const fleet = lab.fleet('teardown');
    await lab.ok('spawn', fleet, '--base', golden, '--count', count, ...seeded);
    await killMidway(fleet, 'SIGKILL', 'teardown', fleet, '--yes');
    await lab.ok('resume', fleet);
    expect(await lab.world(fleet)).toEqual({ members: [], files: [], recorded: undefined });
    expect((await lab.cowherd('status', fleet)).exitCode).toBe(5);
  });

  it('treats Ctrl-C as cancellation: exit code 130, and resume finishes the rest', async () => {
    const fleet = lab.fleet('ctrlc');
    const exitCode = await killMidway(fleet, 'SIGINT', 'spawn', fleet, '--base', golden, '--count', count, ...seeded);
    expect(exitCode).toBe(130);
    // Current steps were finished: no member is incomplete.
    const status = await lab.ok('status', fleet);
    expect(status.unfinished).toMatchObject({ verb: 'spawn' });
    await lab.ok('resume', fleet);
    expect(await lab.world(fleet)).toEqual(await lab.world(undisturbed));
    await lab.ok('teardown', fleet, '--yes');
  });

  it('tears down a fleet whose spawn was interrupted', async () => {
    const fleet = lab.fleet('half');
    await killMidway(fleet, 'SIGKILL', 'spawn', fleet, '--base', golden, '--count', count, ...seeded);
    await lab.ok('teardown', fleet, '--yes');
    expect(await lab.world(fleet)).toEqual({ members: [], files: [], recorded: undefined });
  });

  it('keeps the fleet locked for other runs meanwhile', async () => {
    const fleet = lab.fleet('lock');
    const run = lab.begin('spawn', fleet, '--base', golden, '--count', '20', ...seeded, ...slowly);
    await until(
      'the spawn to begin',
      async () => (await readFile(lab.path('fleets', fleet, 'operation.json'), 'utf8').catch(() => '')) !== '',
    );
    const second = await lab.cowherd('teardown', fleet, '--yes', '--json');
    expect(second.exitCode).toBe(6);
    expect(second.json.error).toMatchObject({ code: 'LOCKED', message: expect.stringMatching(/pid \d+/) });
    expect((await run).exitCode).toBe(0);
    await lab.ok('teardown', fleet, '--yes');
  });
});
