import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { domains, Lab, TestNetwork } from './lab.js';

describe('the examples', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab.close());

  it.each(['first-fleet', 'lab', 'own-template', 'linux-lab', 'golden-life'])('%s runs to its end and leaves nothing', async (name) => {
    const script = fileURLToPath(new URL(`../../examples/${name}/run.sh`, import.meta.url));
    const fleet = lab.fleet(name);
    const { exitCode, all } = await execa('bash', [script], {
      env: { ...lab.env, FLEET: fleet, GOLDEN: inject('tinyImage') },
      reject: false,
      all: true,
    });
    expect(`${exitCode}\n${all}`).toMatch(/^0\n/);
    expect((await domains()).filter((domain) => domain.startsWith(fleet))).toEqual([]);
    expect((await lab.ok('base', 'list')).bases).toEqual([]);
  });

  it('vitest-fleet tests three VMs that speak with each other, and leaves nothing', async () => {
    const network = await TestNetwork.open(lab.id, 10, 20);
    try {
      const script = fileURLToPath(new URL('../../examples/vitest-fleet/run.sh', import.meta.url));
      const env = { ...lab.env, GOLDEN: inject('tinyImage'), NETWORK: network.name };
      const { exitCode, all } = await execa('bash', [script], { env, reject: false, all: true });
      expect(`${exitCode}\n${all}`).toMatch(/^0\n[\s\S]*1 passed/);
      expect((await lab.ok('list')).fleets).toEqual([]);
      expect(await network.hosts()).toEqual([]);
    } finally {
      await network.close();
    }
  });
});
