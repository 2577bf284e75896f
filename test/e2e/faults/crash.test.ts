import { readFile, stat, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, until } from '../../support/lab.js';

const count = '10';
/** With a seed each, which goes with the overlay that it belongs to. */
const seeded = [...guest, '--seed', 'nocloud'];
/** Slow enough to be caught in the middle. */
const slowly = ['--concurrency', '2', '--boot-concurrency', '1'];

/** kill -9 in the middle of each verb, then resume: the world must be that of a fleet that nobody disturbed. */
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

  /** Kills a run when some members are done, and not all. */
  async function killMidway(fleet: string, signal: NodeJS.Signals, ...args: string[]): Promise<number | undefined> {
    const run = lab.begin(...args, ...slowly);
    const log = lab.path('fleets', fleet, 'operation.log');
    const doneMembers = async (): Promise<number> => (await readFile(log, 'utf8').catch(() => '')).split('\n').length - 1;
    await until(`the first members of ${args[0]}`, async () => (await doneMembers()) >= 3);
    run.kill(signal);
    const { exitCode } = await run;
    await lab.unlocked();
    expect(await doneMembers()).toBeLessThan(Number(count));
    return exitCode;
  }

  it('resumes a spawn', async () => {
    const fleet = lab.fleet('spawn');
    await killMidway(fleet, 'SIGKILL', 'spawn', fleet, '--base', golden, '--count', count, ...seeded);
    const status = await lab.ok('status', fleet);
    expect(status.unfinished).toMatchObject({ verb: 'spawn', total: 10 });
    expect(status.counts.missing + status.counts.broken + status.counts.shutOff).toBeGreaterThan(0);
    // Other verbs refuse, and say how to go on.
    const refused = await lab.cowherd('reset', fleet, '--json');
    expect(refused.exitCode).toBe(3);
    expect(refused.json.error).toMatchObject({ code: 'UNFINISHED_OPERATION', hint: expect.stringContaining(`cowherd resume ${fleet}`) });

    const outcome = await lab.ok('resume', fleet);
    expect(outcome.counts.failed).toBe(0);
    expect(await lab.world(fleet)).toEqual(await lab.world(undisturbed));
    // As a run leaves it that is killed between removing its intent and its log.
    await writeFile(lab.path('fleets', fleet, 'operation.log'), 'done 1\n');
    expect(await lab.cowherd('resume', fleet)).toMatchObject({ exitCode: 0, stdout: `${fleet}: nothing to resume` });
    await expect(stat(lab.path('fleets', fleet, 'operation.log'))).rejects.toThrow();
    await lab.ok('teardown', fleet, '--yes');
  });

  it('resumes a reset, of those that ran', async () => {
    const fleet = lab.fleet('reset');
    await lab.ok('spawn', fleet, '--base', golden, '--count', count, ...seeded, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '9-10', '--timeout', '1s', '--force');
    await killMidway(fleet, 'SIGKILL', 'reset', fleet);
    const outcome = await lab.ok('resume', fleet);
    expect(outcome.counts.failed).toBe(0);
    expect(outcome.counts.reset).toBeLessThan(10);
    const status = await lab.ok('status', fleet);
    expect(status.unfinished).toBeUndefined();
    expect(status.counts).toMatchObject({ running: 8, shutOff: 2 });
    // All began one new life, whoever was reset before the crash and after it.
    const lives = (await readFile(lab.path('fleets', fleet, 'seeds', 'placed.log'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => line.split(' '));
    const latest = new Map(lives.map(([member = '', instance = '']) => [member, instance.slice(member.length)]));
    expect(latest.size).toBe(10);
    expect(new Set(latest.values()).size).toBe(1);
    await lab.ok('start', fleet);
    expect(await lab.world(fleet)).toEqual(await lab.world(undisturbed));
    // Each guest has booted once on a clean disk since.
    await lab.ok('spawn', fleet, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    for (let index = 1; index <= 10; index++) {
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

  it('takes Ctrl-C as cancellation: exit 130, and the rest on resume', async () => {
    const fleet = lab.fleet('ctrlc');
    const exitCode = await killMidway(fleet, 'SIGINT', 'spawn', fleet, '--base', golden, '--count', count, ...seeded);
    expect(exitCode).toBe(130);
    // What was under way was finished: no member is half made.
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

  it('lets nobody else work on the fleet meanwhile', async () => {
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
