import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Outcome } from '../../../../src/core/fleet/outcome.js';
import type { FaultKind, Received } from '../../../fakes/openstack/fake-cloud.js';
import { runsOf } from '../../../support/long.js';
import { fleet, NovaLab } from '../../../support/openstack/nova-lab.js';

/** Whatever happened to a fleet and on the way to the cloud: after a spawn, another one would change nothing. */

type Event =
  | { kind: 'spawn'; more: number }
  | { kind: 'delete' | 'halt' | 'rename' | 'break' | 'twin'; nth: number }
  | { kind: 'fault'; fault: FaultKind; every: number; times: number }
  | { kind: 'fail'; task: 'create' | 'start' | 'delete' }
  | { kind: 'other' }
  | { kind: 'reset' }
  | { kind: 'stop' };

const nth = fc.nat(7);
const faults: FaultKind[] = ['lost', 'refused', 'cut', { status: 503 }, { status: 429, headers: { 'retry-after': '1' } }, { status: 500 }];
const events: fc.Arbitrary<Event> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('spawn' as const), more: fc.nat(3) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom('delete', 'halt', 'rename', 'break', 'twin'), nth }) },
  {
    weight: 3,
    arbitrary: fc.record({
      ...{ kind: fc.constant('fault' as const), fault: fc.constantFrom(...faults) },
      ...{ every: fc.integer({ min: 1, max: 5 }), times: fc.integer({ min: 1, max: 6 }) },
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('fail' as const), task: fc.constantFrom('create', 'start', 'delete') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('other', 'reset', 'stop') }) },
);

it('plan, apply, plan is empty', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(events, { minLength: 1, maxLength: 12 }), async (sequence) => {
      const lab = await NovaLab.open();
      try {
        await converges(lab, sequence);
      } finally {
        await lab.close();
      }
    }),
    { numRuns: runsOf(120), endOnFailure: false },
  );
}, 600_000);

async function converges(lab: NovaLab, sequence: readonly Event[]): Promise<void> {
  let count = (await lab.spawn(2)).members.length;
  const others = new Map<string, string>();
  const faultsEnd: Array<() => void> = [];
  for (const event of sequence) {
    if (event.kind === 'spawn') {
      if ((await orFailed(lab.spawn(count + event.more, { base: undefined }))) !== undefined) count += event.more;
    } else if (event.kind === 'reset' || event.kind === 'stop') {
      await orFailed((await lab.engine())[event.kind]({ fleet }));
    } else if (event.kind === 'other') {
      const { id, name } = lab.cloud.addServer({ name: `${fleet}-00${others.size + 1}` });
      others.set(id, name);
    } else if (event.kind === 'fault') faultsEnd.push(lab.cloud.fake.fail(sometimes(event.every), event.fault, event.times));
    else if (event.kind === 'fail') lab.cloud.failNext(event.task);
    else happens(lab, event.kind, event.nth);
  }
  for (const end of faultsEnd) end();
  for (const task of ['create', 'start', 'delete'] as const) while (lab.cloud.tasks.mishaps.take(task, '') !== undefined);
  await expectConverged(lab, await recordedCount(lab));
  const left = lab.cloud.servers.filter(({ id }) => others.has(id));
  expect(left.map(({ id, name, vmState, tags }) => [id, name, vmState, tags])).toEqual(
    [...others].map(([id, name]) => [id, name, 'active', []]),
  );
}

/** A command may fail while the cloud does, with a code and a hint; what it has done must fit nevertheless. */
async function orFailed(command: Promise<Outcome>): Promise<Outcome | undefined> {
  try {
    return await command;
  } catch (error) {
    const { code, hint } = error as { code?: string; hint?: string };
    expect([code, typeof hint], String(error)).toEqual([expect.stringMatching(/^[A-Z_]+$/), 'string']);
    return undefined;
  }
}

function sometimes(every: number): (request: Received) => boolean {
  let count = 0;
  return () => ++count % every === 0;
}

/** Users and hosts do something to a server of the fleet. */
function happens(lab: NovaLab, kind: 'delete' | 'halt' | 'rename' | 'break' | 'twin', position: number): void {
  const { members } = lab;
  const server = members[position % Math.max(1, members.length)];
  if (server === undefined) return;
  if (kind === 'delete') lab.cloud.removeServer(server);
  else if (kind === 'halt') lab.cloud.haltServer(server);
  else if (kind === 'rename') server.name = `renamed-${position}`;
  else if (kind === 'break') lab.cloud.breakServer(server);
  // Created by a request that was believed lost.
  else lab.cloud.addServer({ name: server.name, tags: [...server.tags], metadata: { ...server.metadata }, imageId: server.imageId });
}

async function recordedCount(lab: NovaLab): Promise<number> {
  return (await (await lab.engine()).status(fleet)).members.length;
}

async function expectConverged(lab: NovaLab, count: number): Promise<void> {
  const engine = await lab.engine();
  await engine.resume({ fleet });
  await lab.spawn(undefined, { base: undefined });
  // Servers that had a disk are not replaced: the user decides.
  const { members } = await engine.status(fleet);
  const broken = members.filter(({ state }) => state === 'broken').map(({ name }) => name);
  if (broken.length > 0) expect((await engine.reset({ fleet, members: broken })).counts.failed).toBe(0);
  expect((await lab.spawn(undefined, { base: undefined })).counts.failed).toBe(0);
  const { plan, counts } = await lab.spawn(undefined, { base: undefined, dryRun: true });
  expect(plan).toMatchObject({ members: [], refused: [] });
  expect(counts).toMatchObject({ unchanged: count });
  expectSingle(lab);
  expect(lab.members.map(({ vmState, taskState }) => [vmState, taskState])).toEqual(Array.from({ length: count }, () => ['active', null]));
}

/** No two servers of the same member, but those that the test has added and no command has seen yet. */
function expectSingle(lab: NovaLab): void {
  const tags = lab.members.map((server) => server.tags.find((tag) => tag.startsWith('cowherd:member=')));
  expect(tags).toHaveLength(new Set(tags).size);
}
