import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, until } from '../../support/lab.js';
import { longIt } from '../../support/long.js';
import { unleash } from '../../support/stress.js';

/** Several runs of cowherd on one store: one works, the others wait or report its lock. */
describe('two at once', () => {
  let lab: Lab;
  let goldens: [string, string];
  beforeAll(async () => {
    lab = await Lab.open();
    goldens = [await lab.golden('golden.qcow2'), await lab.golden('other.qcow2', { filledMiB: 1 })];
  });
  afterAll(() => lab.close());

  it('a base image is removed or used by a fleet, never both', async () => {
    for (let attempt = 0; attempt < 3; attempt++) {
      const fleet = lab.fleet(`race${attempt}`);
      await lab.ok('base', 'add', goldens[0]);
      const [spawned, removed] = await Promise.all([
        lab.cowherd('spawn', fleet, '--base', 'golden', '--count', '2', ...guest, '--json'),
        lab.cowherd('base', 'remove', 'golden', '--json'),
      ]);
      // The second run got an error.
      expect([
        [0, 3],
        [5, 0],
        [7, 0],
      ]).toContainEqual([spawned.exitCode, removed.exitCode]);
      expect((await lab.ok('verify')).findings).toEqual([]);
      if (spawned.exitCode === 0) await lab.ok('teardown', fleet, '--yes');
    }
  });

  it('distinguishes a running verb from an interrupted one', async () => {
    const fleet = lab.fleet('busy');
    const run = lab.begin('spawn', fleet, '--base', goldens[0], '--count', '20', ...guest, '--concurrency', '1', '--boot-concurrency', '1');
    const unfinished = async () => (await lab.cowherd('status', fleet, '--json')).json.unfinished;
    await until('the spawn to be seen', async () => (await unfinished()) !== undefined);
    expect(await unfinished()).toMatchObject({ verb: 'spawn', pid: run.pid, total: 20 });
    expect((await lab.cowherd('status', fleet)).stdout).toContain(`is in progress (pid ${run.pid})`);
    run.kill('SIGKILL');
    await run;
    // libvirt may still process its last call for a moment.
    await lab.unlocked();
    // Its pid belongs to another process now.
    await writeFile(lab.path('fleets', `.${fleet}.lock`), `pid ${process.pid}\n`);
    expect(await unfinished()).toMatchObject({ verb: 'spawn', pid: null });
    expect((await lab.cowherd('status', fleet)).stdout).toContain(`cowherd resume ${fleet}`);
    await lab.ok('teardown', fleet, '--yes');
  });

  longIt('random verbs by three processes leave a consistent store', async () => {
    const { runs, outrages } = await unleash(lab, { rounds: 24, processes: 3, seed: 7, killedPercent: 25 }, goldens);
    expect(outrages).toEqual([]);
    expect(runs).toBe(24);
    expect((await lab.cowherd('verify', '--fix', '--json')).exitCode).toBe(0);
    expect((await lab.ok('verify')).findings).toEqual([]);
  });
});
