import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PromoteOptions } from '../../../../src/services/base/promote.js';
import { isLong } from '../../../support/long.js';
import { type ChildResult, Children } from '../../../support/openstack/children.js';
import {
  type Command,
  changesOf,
  type KillPoint,
  pointsOf,
  requestsOf,
  runKilled,
  runKilledAtChange,
} from '../../../support/openstack/kill-points.js';
import { base, fleet, NovaLab, spawnOptions } from '../../../support/openstack/nova-lab.js';

/**
 * Commands that are killed with SIGKILL at each of their requests, in processes of their own. After `resume`, or the same command again,
 * everything is as after an undisturbed run.
 */

interface Scenario extends Command {
  setUp(lab: NovaLab): Promise<void>;
}

/** Three members whose users have written files, and a server of somebody else with the name of a member. */
async function usedFleet(lab: NovaLab): Promise<void> {
  lab.cloud.addServer({ name: `${fleet}-002` });
  await lab.spawn(3);
  for (const { files } of lab.members) files.add('notes');
}

const scenarios: Record<string, Scenario> = {
  spawn: {
    verb: 'spawn',
    options: { ...spawnOptions(3) },
    setUp: async (lab) => void lab.cloud.addServer({ name: `${fleet}-002` }),
  },
  grow: { verb: 'spawn', options: { ...spawnOptions(4), base: undefined }, setUp: usedFleet },
  reset: {
    verb: 'reset',
    options: { fleet },
    setUp: async (lab) => {
      await usedFleet(lab);
      const engine = await lab.engine();
      await engine.stop({ fleet, members: ['3'] });
    },
  },
  rebase: {
    verb: 'rebase',
    options: { fleet, base: 'next', canary: 1, batch: 1, wait: 'console=TINY-READY', timeoutMs: 60_000 },
    setUp: async (lab) => {
      await usedFleet(lab);
      lab.cloud.addImage({ name: 'next', sha512: '6'.repeat(128), files: new Set(['newer']) });
    },
  },
  promote: { verb: 'promote', options: { member: [`${fleet}-002`], as: 'promoted', stop: true }, setUp: usedFleet },
  teardown: { verb: 'teardown', options: { fleet }, setUp: usedFleet },
};

let children: Children;
beforeAll(async () => {
  children = await Children.prepare();
});
afterAll(() => children?.remove());

describe('kill -9 at every request', () => {
  it.each(Object.keys(scenarios))(
    '%s',
    async (name) => {
      const scenario = scenarios[name];
      if (scenario === undefined) throw new Error(name);
      const { points, expected } = await undisturbed(scenario);
      const found: Array<{ point: KillPoint; wasKilled: boolean; view: unknown }> = [];
      for (const point of points) {
        const kill = (lab: NovaLab): Promise<ChildResult> => runKilled(lab, children, scenario, point);
        found.push({ point, ...(await killedAndResumed(scenario, kill)) });
      }
      expect(found.map(({ point, view }) => ({ point, view }))).toEqual(points.map((point) => ({ point, view: expected })));
      // A command may have less to do than the first time, but rarely.
      expect(found.filter(({ wasKilled }) => wasKilled).length).toBeGreaterThan(points.length * 0.8);
    },
    600_000,
  );
});

describe('kill -9 at changes of the records', () => {
  it.each(['spawn', 'reset', 'rebase', 'teardown'])(
    '%s',
    async (name) => {
      const scenario = scenarios[name];
      if (scenario === undefined) throw new Error(name);
      const { changes, expected } = await within(async (lab) => {
        await scenario.setUp(lab);
        const lines = await changesOf(lab, children, scenario);
        return { changes: lines.length, expected: await lab.view() };
      });
      const every = isLong ? 1 : Math.max(1, Math.floor(changes / 5));
      const places = Array.from({ length: changes }, (_, index) => index + 1).filter((at) => at % every === 0);
      const found: Array<{ at: number; wasKilled: boolean; view: unknown }> = [];
      for (const at of places) {
        const kill = (lab: NovaLab): Promise<ChildResult> => runKilledAtChange(lab, children, scenario, at);
        found.push({ at, ...(await killedAndResumed(scenario, kill)) });
      }
      expect(found.map(({ at, view }) => ({ at, view }))).toEqual(places.map((at) => ({ at, view: expected })));
      expect(found.filter(({ wasKilled }) => wasKilled).length).toBeGreaterThan(3);
    },
    600_000,
  );
});

async function within<T>(work: (lab: NovaLab) => Promise<T>): Promise<T> {
  const lab = await NovaLab.open();
  try {
    return await work(lab);
  } finally {
    await lab.close();
  }
}

function undisturbed(scenario: Scenario): Promise<{ points: KillPoint[]; expected: unknown }> {
  return within(async (lab) => {
    await scenario.setUp(lab);
    const { requests, result } = await requestsOf(lab, children, scenario);
    expect(result.error).toBeUndefined();
    const points = pointsOf(requests);
    expect(points.length).toBeGreaterThan(8);
    return { points: isLong ? points : thinned(points), expected: await lab.view() };
  });
}

/** Each different request once: before the first of them, and after one in their middle. */
function thinned(points: readonly KillPoint[]): KillPoint[] {
  const groups = new Map<string, KillPoint[]>();
  for (const point of points)
    groups.set(`${point.when} ${point.request}`, [...(groups.get(`${point.when} ${point.request}`) ?? []), point]);
  const chosen = [...groups.values()].map((group) => group[group[0]?.when === 'before' ? 0 : Math.floor(group.length / 2)]);
  return points.filter((point) => chosen.includes(point));
}

/** @returns the state after all, or what went wrong */
async function killedAndResumed(
  scenario: Scenario,
  kill: (lab: NovaLab) => Promise<ChildResult>,
): Promise<{ wasKilled: boolean; view: unknown }> {
  const lab = await NovaLab.open();
  let wasKilled = false;
  try {
    await scenario.setUp(lab);
    const ids = idsByName(lab);
    const killed = await kill(lab);
    wasKilled = killed.signal === 'SIGKILL';
    if (!wasKilled) expect(killed.error).toBeUndefined();
    await goOn(lab, scenario);
    const view = await lab.view();
    if (scenario.verb !== 'teardown') expect(idsByName(lab)).toMatchObject(ids);
    await nothingIsLeft(lab);
    return { wasKilled, view };
  } catch (error) {
    return { wasKilled, view: { error: String(error), details: error } };
  } finally {
    await lab.close();
  }
}

function idsByName({ members }: NovaLab): Record<string, string> {
  return Object.fromEntries(members.map(({ name, id }) => [name, id]));
}

/** What the user does: resume, and the command again if it was not begun, or if there is nothing to resume. */
async function goOn(lab: NovaLab, { verb, options }: Command): Promise<void> {
  if (verb === 'promote') return promoteAgain(lab, options);
  const engine = await lab.engine();
  const { outcome, error } = await tried(() => engine.resume({ fleet }));
  if (error !== undefined && error.code !== 'FLEET_NOT_FOUND') throw error;
  expect(outcome?.counts.failed ?? 0).toBe(0);
  if (outcome !== undefined && outcome.operation.verb !== 'resume') return;
  const again = await children.run({ root: lab.root, environment: lab.cloud.environment, verb, options });
  const isGone = verb === 'teardown' && again.error?.code === 'FLEET_NOT_FOUND';
  if (again.error !== undefined && !isGone) throw Object.assign(new Error(again.error.message), again.error);
}

/**
 * A promotion has no intent: it is repeated, which is refused until the cloud has ended what it was asked for. The member may be left
 * stopped, and an image incomplete, which counts as a leftover after some time.
 */
async function promoteAgain(lab: NovaLab, options: Command['options']): Promise<void> {
  const engine = await lab.engine();
  const { error } = await tried(
    () => engine.promote(options as unknown as PromoteOptions),
    () => lab.cloud.settle(),
  );
  if (error !== undefined) throw error;
  expect((await engine.start({ fleet })).counts.failed).toBe(0);
  await lab.clock.sleep(2 * 3_600_000);
  await engine.bases.prune({ remove: true, keepNewest: true });
}

async function tried<T>(
  work: () => Promise<T>,
  between: () => void = () => undefined,
): Promise<{ outcome?: T; error?: { code?: string } & Error }> {
  // The killed process may still be on its way out, with the lock.
  for (let tries = 0; ; tries++) {
    try {
      return { outcome: await work() };
    } catch (error) {
      if ((error as { code?: string }).code !== 'LOCKED' || tries === 20) return { error: error as Error };
      await new Promise((resolve) => setTimeout(resolve, 100));
      between();
    }
  }
}

/** A teardown leaves the server of somebody else, the images that it did not create, and no directory. */
async function nothingIsLeft(lab: NovaLab): Promise<void> {
  const engine = await lab.engine();
  const { error } = await tried(() => engine.teardown({ fleet }));
  if (error !== undefined && error.code !== 'FLEET_NOT_FOUND') throw error;
  lab.cloud.settle();
  expect(lab.cloud.servers.map(({ name, vmState, tags }) => [name, vmState, tags])).toEqual([[`${fleet}-002`, 'active', []]]);
  expect(lab.cloud.images.map(({ name }) => name)).toContain(base);
  expect(await lab.view()).toMatchObject({ fleets: [], files: [] });
}
