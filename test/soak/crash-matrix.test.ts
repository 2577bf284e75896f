import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseScenarios, snapshotScenarios } from '../support/scenarios/crash-image-scenarios.js';
import { CrashMatrix, type Point, type Scenario } from '../support/scenarios/crash-matrix.js';
import { fleetScenarios } from '../support/scenarios/crash-scenarios.js';

/** Every change of every verb: COWHERD_SOAK=0.1 tries a tenth of them. */
const part = Math.min(1, Number(process.env.COWHERD_SOAK ?? 1));
const nth = Math.max(1, Math.round(1 / part));

describe.each([
  ['fleets', fleetScenarios],
  ['base images', baseScenarios],
  ['snapshots', snapshotScenarios],
] as const)('kill -9 at every change: %s', (_what, scenariosOf) => {
  let matrix: CrashMatrix;
  let scenarios: Record<string, Scenario>;
  beforeAll(async () => {
    matrix = await CrashMatrix.open();
    scenarios = await scenariosOf(matrix);
  });
  afterAll(() => matrix?.close());

  it('resumes to the world of an undisturbed run', async () => {
    const all = [];
    for (const scenario of Object.values(scenarios)) {
      const began = Date.now();
      const { points, tried, losses } = await matrix.run(scenario, (every) => every.filter((_point, position) => position % nth === 0));
      console.log(`${scenario.name}: ${tried} of ${points} points, ${losses.length} lost, ${Math.round((Date.now() - began) / 1000)} s`);
      for (const loss of losses) console.log(JSON.stringify(loss, undefined, 1));
      all.push(...losses);
    }
    expect(all).toEqual([]);
    expect(await matrix.scratchLeft()).toEqual([]);
  });
});

describe('a command that gets a signal', () => {
  let matrix: CrashMatrix;
  beforeAll(async () => {
    matrix = await CrashMatrix.open();
  });
  afterAll(() => matrix?.close());

  it('ends by itself on Ctrl-C and SIGTERM at any point', async () => {
    const spread = (nth: number) => (points: Point[]) => points.filter(({ at }) => at > 5 && at < points.length - 5 && at % nth === 0);
    const { spawn, reset } = await fleetScenarios(matrix);
    if (spawn === undefined || reset === undefined) throw new Error('no scenarios');
    expect((await matrix.run(spawn, spread(40), 'SIGINT')).losses).toEqual([]);
    expect((await matrix.run(reset, spread(30), 'SIGTERM')).losses).toEqual([]);
  });
});
