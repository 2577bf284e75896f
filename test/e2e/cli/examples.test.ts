import { readdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, inject, it } from 'vitest';
import { domains, Lab, TestNetwork, until } from '../../support/lab.js';
import { isLong } from '../../support/long.js';

/** Each with a store of its own, and two at a time (maxConcurrency): a script waits for its guests, one step after the other. */
describe.concurrent('the examples', () => {
  async function inLab(work: (lab: Lab) => Promise<void>): Promise<void> {
    const lab = await Lab.open();
    // Of the person who tries an example: no fleet stands on it.
    const { exitCode } = await lab.cowherd('base', 'add', await lab.golden('mine.qcow2'));
    expect(exitCode).toBe(0);
    await work(lab).finally(() => lab.close());
  }

  /** The store is as it was, and nothing is left beside it or within. */
  async function expectUntouched(lab: Lab): Promise<void> {
    expect((await lab.cowherd('base', 'list', '--json')).json.bases.map(({ name }: { name: string }) => name)).toEqual(['mine']);
    expect((await lab.cowherd('list', '--json')).json.fleets).toEqual([]);
    const beside = await readdir(dirname(lab.store));
    expect(beside.filter((entry) => entry.startsWith(`${basename(lab.store)}-`))).toEqual([]);
    expect((await readdir(lab.store)).filter((entry) => entry.startsWith('example-'))).toEqual([]);
  }

  const run = (name: string, env: Record<string, string>, { detached = false } = {}) =>
    execa('bash', [fileURLToPath(new URL(`../../../examples/${name}/run.sh`, import.meta.url))], {
      env,
      reject: false,
      all: true,
      detached,
    });

  it.each(isLong ? ['linux-lab', 'golden-life', 'first-fleet', 'lab', 'own-template'] : ['first-fleet', 'own-template'])(
    '%s runs to its end and leaves nothing',
    (name) =>
      inLab(async (lab) => {
        const fleet = lab.fleet(name);
        const { exitCode, all } = await run(name, { ...lab.env, FLEET: fleet, GOLDEN: inject('tinyImage') });
        expect(`${exitCode}\n${all}`).toMatch(/^0\n/);
        expect((await domains()).filter((domain) => domain.startsWith(fleet))).toEqual([]);
        await expectUntouched(lab);
      }),
  );

  it('first-fleet that is interrupted takes its VMs down', () =>
    inLab(async (lab) => {
      const fleet = lab.fleet('stopped');
      const made = async () => (await domains()).filter((domain) => domain.startsWith(fleet));
      // As a terminal does it: the signal goes to all processes of the group.
      const script = run('first-fleet', { ...lab.env, FLEET: fleet }, { detached: true });
      await until('members to be there', async () => (await made()).length > 3);
      process.kill(-(script.pid ?? 0), 'SIGINT');
      expect((await script).exitCode).not.toBe(0);
      expect(await made()).toEqual([]);
      await expectUntouched(lab);
    }));

  it('vitest-fleet tests three VMs that speak with each other, and leaves nothing', () =>
    inLab(async (lab) => {
      const network = await TestNetwork.open(lab.id, 10, 20);
      try {
        const { exitCode, all } = await run('vitest-fleet', { ...lab.env, GOLDEN: inject('tinyImage'), NETWORK: network.name });
        expect(`${exitCode}\n${all}`).toMatch(/^0\n[\s\S]*1 passed/);
        await expectUntouched(lab);
        expect(await network.hosts()).toEqual([]);
      } finally {
        await network.close();
      }
    }));
});
