import { readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stop } from '../../src/services/power.js';
import { status } from '../../src/services/status.js';
import { CrashMatrix, type Scenario, sampled } from './crash-matrix.js';
import { baseScenarios, fleetScenarios, snapshotScenarios } from './crash-scenarios.js';
import { until, virsh } from './lab.js';

/** A sample of what `npm run soak` does in full. */
describe.each([
  ['fleets', fleetScenarios, 2],
  ['base images', baseScenarios, 1],
  ['snapshots', snapshotScenarios, 1],
] as const)('kill -9 at changes of every verb: %s', (what, scenariosOf, graves) => {
  let matrix: CrashMatrix;
  let scenarios: Record<string, Scenario>;
  beforeAll(async () => {
    matrix = await CrashMatrix.open();
    scenarios = await scenariosOf(matrix);
  });
  afterAll(() => matrix?.close());

  it('resumes to the world of an undisturbed run', async () => {
    for (const scenario of Object.values(scenarios)) expect((await matrix.run(scenario, sampled(graves))).losses).toEqual([]);
    expect(await matrix.scratchLeft()).toEqual([]);
  });

  it.runIf(what === 'fleets')('ends by itself on Ctrl-C and SIGTERM, wherever they come', async () => {
    const spread = (nth: number) => (points: Parameters<ReturnType<typeof sampled>>[0]) =>
      points.filter(({ at }) => at > 5 && at < points.length - 5 && at % nth === 0);
    const { spawn, reset } = scenarios;
    if (spawn === undefined || reset === undefined) throw new Error('no scenarios');
    expect((await matrix.run(spawn, spread(40), 'SIGINT')).losses).toEqual([]);
    expect((await matrix.run(reset, spread(30), 'SIGTERM')).losses).toEqual([]);
  });

  it.runIf(what === 'fleets')('tells of a guest whose QEMU was killed, and brings it back', async () => {
    const { reset } = scenarios;
    const { host } = matrix;
    const fleet = reset?.fleet ?? '';
    await reset?.setUp();
    const member = `${fleet}-001`;
    const kill = async (): Promise<void> => {
      // Its own process, by the name and the UUID that libvirt gives it.
      const uuid = (await virsh('domuuid', member)).trim();
      process.kill(await qemuOf(uuid), 'SIGKILL');
      await until('libvirt to see it', async () => (await virsh('domstate', member)).trim() !== 'running');
    };
    await kill();
    expect((await status(host, fleet)).members[0]).toMatchObject({ name: member, state: 'shutOff', reason: 'crashed' });
    expect((await matrix.lab.ok('start', fleet, '1')).counts).toMatchObject({ started: 1, failed: 0 });
    await kill();
    expect((await matrix.lab.ok('reset', fleet, '1', '--start', 'all', '--wait', 'console=^OK')).counts).toMatchObject({
      reset: 1,
      failed: 0,
    });
    expect((await status(host, fleet)).members[0]).toMatchObject({ state: 'running' });
    await kill();
    expect((await stop(host, { fleet, timeoutMs: 1000, force: true })).counts.failed).toBe(0);
    await matrix.lab.ok('teardown', fleet, '--yes');
  });
});

async function qemuOf(uuid: string): Promise<number> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (/^[^\0]*qemu/.test(line) && line.includes(`\0-uuid\0${uuid}\0`)) return Number(pid);
  }
  throw new Error(`no QEMU has ${uuid}`);
}
