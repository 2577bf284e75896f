import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Received } from '../../../fakes/openstack/fake-cloud.js';
import { failedOf, fleet, NovaLab, running } from '../../../support/openstack/nova-lab.js';

/** Tasks that fail in the cloud, never end, or are refused. */

let lab: NovaLab;
beforeEach(async () => {
  lab = await NovaLab.open();
});
afterEach(async () => {
  expect(lab.cloud.fake.unknown).toEqual([]);
  await lab.close();
});

const isCreate = ({ method, path }: Received): boolean => method === 'POST' && path === '/v2.1/servers';
const isRebuild = ({ path, request }: Received): boolean => path.endsWith('/action') && 'rebuild' in (request as object);

describe('a server that could not be created', () => {
  it('is reported with the reason of the cloud, and replaced by the next spawn', async () => {
    lab.cloud.failNext('create', `${fleet}-002`, 'Exhausted all hosts available for retrying build failures.');
    const outcome = await lab.spawn(3);
    expect(outcome.counts).toMatchObject({ created: 2, failed: 1 });
    expect(failedOf(outcome)).toMatchObject([
      { name: `${fleet}-002`, error: { message: expect.stringContaining('Exhausted all hosts'), hint: expect.any(String) } },
    ]);
    const engine = await lab.engine();
    const { members } = await engine.status(fleet);
    expect(members.map(({ problems }) => problems.length > 0)).toEqual([false, true, false]);
    expect((await lab.spawn(undefined)).counts).toMatchObject({ created: 1, unchanged: 2, failed: 0 });
    expect(lab.states).toEqual(running(3));
  });

  it('because no host has room says so, also in the status', async () => {
    await lab.close();
    lab = await NovaLab.open({ hosts: 1, limits: { capacity: 2 } });
    const outcome = await lab.spawn(3);
    expect(failedOf(outcome)).toMatchObject([{ error: { message: expect.stringContaining('No valid host was found') } }]);
    const { members } = await (await lab.engine()).status(fleet);
    expect(members.flatMap(({ problems }) => problems).join()).toContain('No valid host was found');
  });

  it('whose task never ends is an error after a time', async () => {
    lab.cloud.stickNext('create', `${fleet}-001`);
    const outcome = await lab.spawn(2);
    expect(failedOf(outcome)).toMatchObject([{ name: `${fleet}-001`, error: { code: 'TOOL_TIMEOUT' } }]);
    // Also with a server that cannot be built, everything is removed.
    expect((await (await lab.engine()).teardown({ fleet })).counts).toMatchObject({ removed: 2, failed: 0 });
    expect(lab.cloud.servers).toEqual([]);
  });
});

describe('a reset', () => {
  beforeEach(async () => {
    await lab.spawn(3);
    for (const { name } of lab.members) lab.cloud.writeFile(name, 'notes');
  });

  it('of a server that fails is reported; the next reset gives it a fresh disk', async () => {
    lab.cloud.failNext('rebuild', `${fleet}-002`, 'no space left on the host');
    const engine = await lab.engine();
    const outcome = await engine.reset({ fleet });
    expect(outcome.counts).toMatchObject({ reset: 2, failed: 1 });
    expect(failedOf(outcome)).toMatchObject([{ name: `${fleet}-002`, error: { message: expect.stringContaining('no space left') } }]);
    expect((await engine.reset({ fleet, members: ['2'], start: 'all' })).counts).toMatchObject({ reset: 1, failed: 0 });
    expect(lab.states).toEqual(running(3));
  });

  it('with a deleted image is refused, and no server is touched', async () => {
    lab.cloud.removeImage('golden');
    const engine = await lab.engine();
    await expect(engine.reset({ fleet })).rejects.toMatchObject({ code: 'BASE_CHANGED', hint: expect.stringContaining('rebase') });
    expect(lab.cloud.fake.count('POST', /action$/)).toBe(0);
    expect(lab.members.map(({ files }) => files.size)).toEqual([1, 1, 1]);
    expect((await engine.status(fleet)).base.problem).not.toBeNull();
    // Nothing was begun.
    await expect(engine.resume({ fleet })).resolves.toMatchObject({ operation: { verb: 'resume' } });
  });

  it('whose image is deleted meanwhile fails for the members that are left', async () => {
    let count = 0;
    lab.cloud.fake.on((request) => {
      if (isRebuild(request) && ++count === 2) lab.cloud.removeImage('golden');
      return undefined;
    });
    const outcome = await (await lab.engine()).reset({ fleet, concurrency: 1 });
    expect(outcome.counts).toMatchObject({ reset: 1, failed: 2 });
    for (const { error } of failedOf(outcome)) expect(error).toMatchObject({ message: expect.stringContaining('Cannot find image') });
    expect(lab.states).toEqual(running(3));
  });

  it('of a server with another task fails for that one, and says so', async () => {
    lab.cloud.server(`${fleet}-002`).taskState = 'image_uploading';
    const engine = await lab.engine();
    const outcome = await engine.reset({ fleet });
    expect(outcome.counts).toMatchObject({ reset: 2, failed: 1 });
    expect(failedOf(outcome)).toMatchObject([{ name: `${fleet}-002`, error: { hint: expect.any(String) } }]);
    expect(lab.cloud.server(`${fleet}-002`).files.size).toBe(1);
    lab.cloud.server(`${fleet}-002`).taskState = null;
    expect((await engine.reset({ fleet })).counts).toMatchObject({ reset: 3, failed: 0 });
  });

  it('leaves a locked server as it is', async () => {
    lab.cloud.server(`${fleet}-003`).isLocked = true;
    const outcome = await (await lab.engine()).reset({ fleet });
    expect(failedOf(outcome)).toMatchObject([{ name: `${fleet}-003`, error: { message: expect.stringContaining('locked') } }]);
    expect(lab.cloud.server(`${fleet}-003`).files.size).toBe(1);
  });

  it('keeps stopped members stopped', async () => {
    const engine = await lab.engine();
    await engine.stop({ fleet, members: ['1'] });
    expect((await engine.reset({ fleet })).counts).toMatchObject({ reset: 3, failed: 0 });
    lab.cloud.settle();
    expect(lab.members.map(({ vmState, files }) => [vmState, files.size])).toEqual([
      ['stopped', 0],
      ['active', 0],
      ['active', 0],
    ]);
  });
});

describe('a teardown', () => {
  it('asks again for a server whose deletion got stuck', async () => {
    await lab.spawn(2);
    lab.cloud.stickNext('delete');
    expect((await (await lab.engine()).teardown({ fleet })).counts).toMatchObject({ removed: 2, failed: 0 });
    expect(lab.cloud.servers).toEqual([]);
  });

  it('that cannot delete a server keeps its record, and completes later', async () => {
    await lab.spawn(2);
    for (let tries = 0; tries < 10; tries++) lab.cloud.stickNext('delete', `${fleet}-002`);
    const engine = await lab.engine();
    const outcome = await engine.teardown({ fleet });
    expect(outcome.counts).toMatchObject({ removed: 1, failed: 1 });
    expect(await engine.fleetNames()).toEqual([fleet]);
    while (lab.cloud.tasks.mishaps.take('delete', `${fleet}-002`) !== undefined);
    expect((await engine.teardown({ fleet })).counts).toMatchObject({ failed: 0 });
    expect(lab.cloud.servers).toEqual([]);
    expect(await engine.fleetNames()).toEqual([]);
  });

  it('of servers in state ERROR removes them', async () => {
    await lab.spawn(2);
    lab.cloud.breakServer(`${fleet}-001`);
    expect((await (await lab.engine()).teardown({ fleet })).counts).toMatchObject({ removed: 2, failed: 0 });
    expect(lab.cloud.servers).toEqual([]);
  });
});

describe('quotas', () => {
  it('that are too small refuse the whole command before anything is created', async () => {
    await lab.close();
    lab = await NovaLab.open({ quota: { instances: 3 } });
    await expect(lab.spawn(5)).rejects.toMatchObject({ code: 'PREFLIGHT_FAILED' });
    expect(lab.cloud.fake.count('POST', /servers$/)).toBe(0);
    expect(await (await lab.engine()).fleetNames()).toEqual([]);
  });

  it('that others have used up meanwhile are an error for the members that are left', async () => {
    await lab.close();
    lab = await NovaLab.open({ quota: { instances: 5 } });
    lab.cloud.fake.on((request) => {
      if (isCreate(request) && lab.cloud.servers.length === 3) lab.cloud.addServer({ name: 'other' });
      return undefined;
    });
    const outcome = await lab.spawn(5, { concurrency: 1 });
    expect(outcome.counts).toMatchObject({ created: 4, failed: 1 });
    expect(failedOf(outcome)).toMatchObject([{ error: { code: 'PREFLIGHT_FAILED', message: expect.stringContaining('Quota exceeded') } }]);
  });
});
