import { afterEach, beforeEach, expect, it } from 'vitest';
import { fleet, NovaLab } from '../../../support/openstack/nova-lab.js';

/** Servers with which the cloud is still busy when a command begins. */

let lab: NovaLab;
beforeEach(async () => {
  lab = await NovaLab.open();
  await lab.spawn(2);
  for (const { name } of lab.members) lab.cloud.writeFile(name, 'notes');
});
afterEach(() => lab.close());

const first = `${fleet}-001`;

it('a reset of a server that is being stopped gives it a fresh disk', async () => {
  lab.cloud.tasks.stop(lab.cloud.server(first));
  const { counts } = await (await lab.engine()).reset({ fleet });
  expect(counts).toMatchObject({ reset: 2, failed: 0 });
  expect(lab.members.map(({ files }) => files.size)).toEqual([0, 0]);
});

it('a reset that starts members also starts one whose rebuild was begun while it was stopped', async () => {
  const engine = await lab.engine();
  await engine.stop({ fleet, members: ['1'] });
  lab.cloud.tasks.rebuild(lab.cloud.server(first), lab.cloud.image('golden'));
  const { counts } = await engine.reset({ fleet, start: 'all' });
  expect(counts).toMatchObject({ reset: 2, failed: 0 });
  lab.cloud.settle();
  expect(lab.members.map(({ vmState, files }) => [vmState, files.size])).toEqual([
    ['active', 0],
    ['active', 0],
  ]);
});

it('an interrupted command ends although a task hangs, and can be resumed', async () => {
  lab.cloud.stickNext('rebuild', first);
  const cancelled = new AbortController();
  lab.cloud.fake.on(({ path }) => {
    if (path.endsWith('/action')) cancelled.abort();
    return undefined;
  });
  const engine = await lab.engine();
  const before = lab.clock.slept;
  const outcome = await engine.reset({ fleet, signal: cancelled.signal });
  expect(outcome.members.map(({ outcome: kind }) => kind)).toContain('cancelled');
  expect(lab.clock.slept - before).toBeLessThan(60_000);
  lab.cloud.haltServer(first);
  expect((await engine.resume({ fleet })).counts).toMatchObject({ failed: 0 });
  expect(lab.members.map(({ vmState, files }) => [vmState, files.size])).toEqual([
    ['active', 0],
    ['active', 0],
  ]);
});

it('a spawn waits for a member that is being started', async () => {
  lab.cloud.world.times.start = 20_000;
  const server = lab.cloud.server(first);
  lab.cloud.haltServer(server);
  lab.cloud.tasks.start(server);
  expect((await lab.spawn(2)).members).toMatchObject([
    { outcome: 'started', state: 'running' },
    { outcome: 'unchanged', state: 'running' },
  ]);
  expect(server).toMatchObject({ vmState: 'active', taskState: null });
});

it('a reset of a server in state ERROR leaves it running, as the cloud does', async () => {
  lab.cloud.breakServer(first);
  expect((await (await lab.engine()).reset({ fleet })).members).toMatchObject([
    { outcome: 'reset', state: 'running' },
    { outcome: 'reset', state: 'running' },
  ]);
  expect(lab.members.map(({ vmState }) => vmState)).toEqual(['active', 'active']);
});
