import { readdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, inject, it } from 'vitest';
import { domains, Lab, until } from '../../support/lab.js';
import { isLong, longIt } from '../../support/long.js';
import { TestNetwork } from '../../support/network.js';

/** Each uses a separate store. Two run at a time (maxConcurrency), since a script mostly waits for its guests. */
describe.concurrent('the examples', () => {
  async function inLab(work: (lab: Lab) => Promise<void>): Promise<void> {
    const lab = await Lab.open();
    // A base image of the user who tries an example; no fleet uses it.
    const { exitCode } = await lab.cowherd('base', 'add', await lab.golden('mine.qcow2'));
    expect(exitCode).toBe(0);
    await work(lab).finally(() => lab.close());
  }

  /** The store is unchanged, and nothing is left in it or next to it. */
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

  it.each(isLong ? ['linux-lab', 'golden-life', 'first-fleet', 'lab', 'own-template'] : ['first-fleet'])(
    '%s succeeds and leaves nothing behind',
    (name) =>
      inLab(async (lab) => {
        const fleet = lab.fleet(name);
        const { exitCode, all } = await run(name, { ...lab.env, FLEET: fleet, GOLDEN: inject('tinyImage') });
        expect(`${exitCode}\n${all}`).toMatch(/^0\n/);
        expect((await domains()).filter((domain) => domain.startsWith(fleet))).toEqual([]);
        await expectUntouched(lab);
      }),
  );

  it('first-fleet removes its VMs when it is interrupted', () =>
    inLab(async (lab) => {
      const fleet = lab.fleet('stopped');
      const made = async () => (await domains()).filter((domain) => domain.startsWith(fleet));
      // Like a terminal: the signal goes to all processes of the group.
      const script = run('first-fleet', { ...lab.env, FLEET: fleet }, { detached: true });
      await until('members to be there', async () => (await made()).length > 3);
      process.kill(-(script.pid ?? 0), 'SIGINT');
      expect((await script).exitCode).not.toBe(0);
      expect(await made()).toEqual([]);
      await expectUntouched(lab);
    }));

  longIt('vitest-fleet tests three VMs that talk to each other, and leaves nothing behind', () =>
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
    }),
  );
});
