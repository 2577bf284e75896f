import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, inject, it } from 'vitest';
import { domains, Lab, TestNetwork } from './lab.js';

/** Each with a store of its own, and two at a time (maxConcurrency): a script waits for its guests, one step after the other. */
describe.concurrent('the examples', () => {
  async function inLab(work: (lab: Lab) => Promise<void>): Promise<void> {
    const lab = await Lab.open();
    await work(lab).finally(() => lab.close());
  }

  const run = (name: string, env: Record<string, string>) =>
    execa('bash', [fileURLToPath(new URL(`../../examples/${name}/run.sh`, import.meta.url))], { env, reject: false, all: true });

  it.each(['linux-lab', 'golden-life', 'first-fleet', 'lab', 'own-template'])('%s runs to its end and leaves nothing', (name) =>
    inLab(async (lab) => {
      const fleet = lab.fleet(name);
      const { exitCode, all } = await run(name, { ...lab.env, FLEET: fleet, GOLDEN: inject('tinyImage') });
      expect(`${exitCode}\n${all}`).toMatch(/^0\n/);
      expect((await domains()).filter((domain) => domain.startsWith(fleet))).toEqual([]);
      expect((await lab.cowherd('base', 'list', '--json')).json.bases).toEqual([]);
    }),
  );

  it('vitest-fleet tests three VMs that speak with each other, and leaves nothing', () =>
    inLab(async (lab) => {
      const network = await TestNetwork.open(lab.id, 10, 20);
      try {
        const { exitCode, all } = await run('vitest-fleet', { ...lab.env, GOLDEN: inject('tinyImage'), NETWORK: network.name });
        expect(`${exitCode}\n${all}`).toMatch(/^0\n[\s\S]*1 passed/);
        expect((await lab.cowherd('list', '--json')).json.fleets).toEqual([]);
        expect(await network.hosts()).toEqual([]);
      } finally {
        await network.close();
      }
    }));
});
