import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { cloneScenarios } from '../support/scenarios/clone-scenarios.js';
import { CrashMatrix } from '../support/scenarios/crash-matrix.js';

/** How many of the changes of each verb are tried: COWHERD_SOAK=1 tries them all, and takes hours of Linux guests. */
const part = Math.min(1, Number(process.env.COWHERD_SOAK ?? 0.2));
const nth = Math.max(1, Math.round(1 / part));
const count = 2;

describe('kill -9 where clones are made', () => {
  let matrix: CrashMatrix;
  let golden: string;
  beforeAll(async () => {
    matrix = await CrashMatrix.open();
    golden = matrix.lab.fleet('gold');
    const tiny = ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', 'smbios', '--count', '1', '--wait', 'agent'];
    await matrix.lab.ok('spawn', golden, ...tiny);
    const words = 'echo of-the-golden > /run/in-memory; echo of-the-golden > /root/on-disk; sync';
    const key = 'dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key';
    await matrix.lab.ok('exec', golden, '--via', 'agent', '--', '/bin/sh', '-c', `${words}; ${key}`);
  });
  afterAll(() => matrix?.close());

  it.each(['spawn', 'frozen', 'reset'] as const)('resumes to the world of an undisturbed run: %s', async (name) => {
    const began = Date.now();
    const scenario = cloneScenarios(matrix, golden, count)[name];
    const { points, tried, losses } = await matrix.run(scenario, (every) => every.filter((_point, position) => position % nth === 0));
    console.log(`${scenario.name}: ${tried} of ${points} points, ${losses.length} lost, ${Math.round((Date.now() - began) / 1000)} s`);
    for (const loss of losses) console.log(JSON.stringify(loss, undefined, 1));
    expect(losses).toEqual([]);
  });
});
