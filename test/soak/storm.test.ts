import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Lab } from '../support/lab.js';
import { unleash } from '../support/stress.js';

const rounds = 200 * Number(process.env.COWHERD_SOAK ?? 1);

/** 200 random commands by three processes on two fleets of one base image; then everything must be consistent. */
describe('concurrent random commands', () => {
  let lab: Lab;
  beforeEach(async () => {
    lab = await Lab.open();
  });
  afterEach(() => lab.close());

  it.each([
    ['without kills', 0],
    ['with a quarter of them killed', 25],
  ])('%s leave a consistent store', async (_what, killedPercent) => {
    const goldens: [string, string] = [await lab.golden('golden.qcow2'), await lab.golden('other.qcow2', { filledMiB: 1 })];
    const result = await unleash(lab, { rounds, processes: 3, seed: 1, killedPercent }, goldens);
    console.log(JSON.stringify(result));
    expect(result.outrages).toEqual([]);
    // Leftovers of killed runs may be removed; remaining findings would be data loss.
    if (killedPercent > 0) expect((await lab.cowherd('verify', '--fix', '--json')).exitCode).toBe(0);
    expect((await lab.ok('verify')).findings).toEqual([]);
  });
});
