import { readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stop } from '../../../src/services/fleet/power.js';
import { status } from '../../../src/services/fleet/status/status.js';
import { until, virsh } from '../../support/lab.js';
import { inLong, isLong } from '../../support/long.js';
import { baseScenarios, snapshotScenarios } from '../../support/scenarios/crash-image-scenarios.js';
import { CrashMatrix, critical, type Scenario, sampled } from '../../support/scenarios/crash-matrix.js';
import { fleetScenarios } from '../../support/scenarios/crash-scenarios.js';

/** A sample of the crash points that `npm run soak` tests completely: daily, one critical point of the verbs that change the most. */
describe.each([
  ['fleets', fleetScenarios, ['spawn', 'reset', 'checkpoint', 'warmReset', ...inLong(['grow', 'teardown'])]],
  ['base images', baseScenarios, ['promote', 'pull', ...inLong(['add', 'remove', 'prune'])]],
  ['snapshots', snapshotScenarios, ['take']],
] as const)('kill -9 at changes of the verbs: %s', (_what, scenariosOf, names) => {
  let matrix: CrashMatrix;
  let scenarios: Record<string, Scenario>;
  beforeAll(async () => {
    matrix = await CrashMatrix.open();
    scenarios = await scenariosOf(matrix);
  });
  afterAll(() => matrix?.close());

  it('ends in the same state as an undisturbed run', async () => {
    for (const name of names) {
      const scenario = scenarios[name];
      if (scenario === undefined) throw new Error(`no scenario ${name}`);
      expect((await matrix.run(scenario, isLong ? sampled(4) : critical)).losses).toEqual([]);
    }
    expect(await matrix.scratchLeft()).toEqual([]);
  });
});

describe('a guest whose QEMU was killed', () => {
  let matrix: CrashMatrix;
  beforeAll(async () => {
    matrix = await CrashMatrix.open();
  });
  afterAll(() => matrix?.close());

  it('is reported and can be restarted', async () => {
    const { host } = matrix;
    const { reset } = await fleetScenarios(matrix);
    const fleet = reset?.fleet ?? '';
    await reset?.setUp();
    const member = `${fleet}-001`;
    const kill = async (): Promise<void> => {
      // Its own process, identified by the name and UUID in the command line.
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
