import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import type { Image } from '../../../../src/engines/nova/core/images.js';
import { FastClock, openFake } from '../../../fakes/openstack/open-fake.js';
import { readRecording } from '../../../fakes/openstack/recording.js';
import { StatefulCloud } from '../../../fakes/openstack/stateful/stateful-cloud.js';
import type { WorldOptions } from '../../../fakes/openstack/stateful/world.js';
import { expectLifecycle, expectRefusals, expectTenant } from '../../../fixtures/openstack/expectations.js';
import { lifecycle, member, recordedIds, refusals, type Stage, tag, tenant, upload } from '../../../fixtures/openstack/scenarios.js';

/** The stateful fake behaves like the cloud that was recorded: the same scenarios see the same. */

let cloud: StatefulCloud;
afterEach(async () => {
  expect(cloud.fake.unknown).toEqual([]);
  await cloud.stop();
});

async function stage(options: WorldOptions = {}, variables: Record<string, string> = {}): Promise<Stage> {
  const clock = new FastClock();
  cloud = await StatefulCloud.start({ now: () => clock.slept, hosts: 1, ...options });
  const golden = Buffer.from('a small file in place of the golden image');
  return { cloud: await openFake(cloud.fake, { clock, variables }), clock, golden, ids: recordedIds };
}

describe('the scenarios of the recordings', () => {
  it.each(['2.93', '2.52'])('a cloud with microversion %s: the life of two servers', async (microversion) => {
    const seen = await lifecycle(await stage({ isAdmin: true, microversion }));
    expectLifecycle(seen, microversion === '2.93' ? '2.90' : microversion);
    expect([cloud.servers, cloud.images]).toEqual([[], []]);
  });

  it('time that passes with requests only gives the same', async () => {
    expectLifecycle(await lifecycle(await stage({ isAdmin: true, now: () => 0, msPerRead: 700 })), '2.90');
  });

  it('refusals', async () => {
    const seen = await refusals(await stage({ isAdmin: true }));
    expectRefusals(seen);
  });

  it('a user without administrator rights, with a password or an application credential', async () => {
    expectTenant(await tenant(await stage()));
    await cloud.stop();
    const credential = { OS_APPLICATION_CREDENTIAL_ID: 'i', OS_APPLICATION_CREDENTIAL_SECRET: 'correct-horse' };
    expectTenant(await tenant(await stage({}, { OS_AUTH_TYPE: 'v3applicationcredential', ...credential })));
  });

  it('a wrong password', async () => {
    await expect(tenant(await stage({}, { OS_PASSWORD: 'wrong' }))).rejects.toMatchObject({ code: 'CONNECTION_FAILED', status: 401 });
  });
});

describe('details of the recordings', () => {
  const fieldsOf = (value: unknown): string[] => Object.keys([value].flat()[0] as object).sort();

  it.each([
    ['lifecycle', '2.90'],
    ['lifecycle-2.52', '2.52'],
  ])('%s: servers and flavors have the same fields', async (name, microversion) => {
    const { cloud: client, ...rest } = await stage({ isAdmin: true, microversion });
    await upload({ cloud: client, ...rest }, recordedIds.image);
    const flavor = await client.checks.flavor('cow.tiny');
    await client.servers.create(member(1, recordedIds.image, flavor.id));
    const { exchanges } = readRecording(name);
    for (const [path, key] of [
      ['/v2.1/servers/detail', 'servers'],
      ['/v2.1/flavors/detail', 'flavors'],
    ] as const) {
      const recorded: any = exchanges.find((exchange) => exchange.path.startsWith(path))?.reply;
      expect(fieldsOf((await raw(path, microversion))[key])).toEqual(fieldsOf(recorded[key]));
    }
  });

  async function raw(path: string, microversion: string): Promise<any> {
    const login = await fetch(`${cloud.environment.OS_AUTH_URL}/auth/tokens`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
      body: JSON.stringify({ auth: { identity: { password: { user: { password: 'correct-horse' } } } } }),
    });
    const headers = { 'x-auth-token': login.headers.get('x-subject-token') ?? '', 'openstack-api-version': `compute ${microversion}` };
    return (await fetch(`${cloud.fake.urlOf('compute')}${path}`, { headers })).json();
  }
});

describe('what the tests of the engine rely on', () => {
  async function two(options: WorldOptions = {}): Promise<Stage & { first: { id: string; name: string } }> {
    const opened = await stage(options);
    await upload(opened, recordedIds.image);
    const flavor = await opened.cloud.checks.flavor('cow.tiny');
    const { id } = await opened.cloud.servers.create(member(1, recordedIds.image, flavor.id));
    await opened.cloud.servers.create(member(2, recordedIds.image, flavor.id));
    return { ...opened, first: { id, name: 'recorded-1' } };
  }

  it('a file is gone after a rebuild, and is in an image of the server', async () => {
    const { cloud: client, first } = await two();
    cloud.settle();
    cloud.writeFile('recorded-1', 'notes');
    cloud.writeFile('recorded-2', 'notes');
    await client.createServerImage(first, { name: 'promoted', properties: { 'cowherd:request': 'r' }, uniqueProperty: 'cowherd:request' });
    await expect(client.servers.stop(first)).rejects.toMatchObject({ status: 409 });
    cloud.settle();
    expect(cloud.image('promoted')).toMatchObject({ status: 'active', tags: [], files: new Set(['notes']) });
    await client.servers.rebuild(first, { kind: 'rebuild', imageId: recordedIds.image, endsIn: 'ACTIVE' });
    cloud.settle();
    expect(cloud.server('recorded-1').files).toEqual(new Set());
    await client.servers.rebuild(first, { kind: 'rebuild', imageId: cloud.image('promoted').id, endsIn: 'ACTIVE' });
    cloud.settle();
    expect([cloud.server('recorded-1').files, cloud.server('recorded-2').files]).toEqual([new Set(['notes']), new Set(['notes'])]);
  });

  it('an image of a server is complete before the server is idle; the same disk gives the same hash', async () => {
    const { cloud: client, clock, first } = await two();
    cloud.settle();
    await client.servers.stop(first);
    cloud.settle();
    const image = { name: 'promoted', properties: { 'cowherd:request': 'r' }, uniqueProperty: 'cowherd:request' };
    const save = async (): Promise<Image> => {
      const id = await client.createServerImage(first, image);
      const saved = await client.images.waitUntilActive(id, 60_000, { pauseMs: 100 });
      expect(await client.servers.get(first.id)).toMatchObject({ status: 'SHUTOFF', taskState: 'image_uploading' });
      await clock.sleep(500);
      expect(await client.servers.get(first.id)).toMatchObject({ status: 'SHUTOFF', taskState: null });
      return saved;
    };
    const [one, same] = [await save(), await save()];
    expect(same.hash).toEqual(one.hash);
    cloud.writeFile(first.name, 'notes');
    expect((await save()).hash).not.toEqual(one.hash);
    cloud.world.options.hasDirectSnapshots = true;
    expect((await save()).hash).toBeUndefined();
  });

  it('the Image service finds the size of the disk in a file, if it has the format that was given', async () => {
    const { cloud: client } = await stage();
    const disk = Buffer.alloc(65_536);
    disk.write('QFI\xfb', 'latin1');
    disk.writeBigUInt64BE(5n * 1024n ** 3n, 24);
    const sizeOf = async (format: 'qcow2' | 'raw', content: Buffer): Promise<number | undefined> => {
      const source = { path: 'disk', bytes: content.length, open: () => Readable.from([content]) };
      return (await client.upload({ name: 'disk', format, tags: [] }, source)).virtualBytes;
    };
    expect(await sizeOf('qcow2', disk)).toBe(5 * 1024 ** 3);
    expect(await sizeOf('raw', disk)).toBe(65_536);
    expect(await sizeOf('qcow2', Buffer.alloc(65_536))).toBeUndefined();
  });

  it('hosts take turns, have a capacity, and do a few things at a time', async () => {
    const { clock } = await two({ hosts: 2, limits: { capacity: 1, slots: 1 } });
    const flavor = cloud.world.flavors.find(({ name }) => name === 'cow.tiny');
    await (await openFake(cloud.fake)).servers.create(member(3, recordedIds.image, flavor?.id ?? ''));
    await clock.sleep(10_000);
    expect(cloud.servers.map(({ host, vmState }) => [host, vmState])).toEqual([
      ['host-1', 'active'],
      ['host-2', 'active'],
      [undefined, 'error'],
    ]);
  });

  it('quotas refuse as Nova does, and a request for one to many servers gets what is left', async () => {
    const { cloud: client } = await two({ quota: { instances: 3 } });
    const flavor = await client.checks.flavor('cow.tiny');
    await client.servers.create(member(3, recordedIds.image, flavor.id));
    await expect(client.servers.create(member(4, recordedIds.image, flavor.id))).rejects.toMatchObject({
      ...{ status: 403, code: 'PREFLIGHT_FAILED' },
      message: expect.stringContaining('Quota exceeded for instances: Requested 1, but already used 3 of 3 instances'),
    });
  });

  it('a task fails or gets stuck if the test says so, once', async () => {
    const { cloud: client, first } = await two();
    cloud.settle();
    const rebuild = { kind: 'rebuild', imageId: recordedIds.image, endsIn: 'ACTIVE' } as const;
    cloud.failNext('rebuild', 'recorded-1', 'no space left on the host');
    await client.servers.rebuild(first, rebuild);
    cloud.settle();
    expect(await client.servers.get(first.id)).toMatchObject({ status: 'ERROR', fault: 'no space left on the host', taskState: null });
    await client.servers.rebuild(first, rebuild);
    cloud.settle();
    expect(cloud.statusOf('recorded-1')).toBe('ACTIVE');
    cloud.stickNext('delete');
    await client.servers.delete(first);
    cloud.settle();
    expect((await client.servers.list([tag])).map(({ name, taskState }) => [name, taskState])).toEqual([
      ['recorded-2', null],
      ['recorded-1', 'deleting'],
    ]);
    await client.servers.delete(first);
    cloud.settle();
    expect(cloud.servers.map(({ name }) => name)).toEqual(['recorded-2']);
  });

  it('a failed creation leaves a server without a host, and an image of a server that fails is removed', async () => {
    const opened = await stage();
    await upload(opened, recordedIds.image);
    const flavor = await opened.cloud.checks.flavor('cow.tiny');
    cloud.failNext('create');
    const { id } = await opened.cloud.servers.create(member(1, recordedIds.image, flavor.id));
    cloud.settle();
    expect(await opened.cloud.servers.get(id)).toMatchObject({ status: 'ERROR', hostId: '' });
    await opened.cloud.servers.create(member(2, recordedIds.image, flavor.id));
    cloud.settle();
    cloud.failNext('createImage');
    const image = { name: 'promoted', properties: { 'cowherd:request': 'r' }, uniqueProperty: 'cowherd:request' };
    await opened.cloud.createServerImage(cloud.server('recorded-2'), image);
    cloud.settle();
    expect(cloud.images.map(({ name }) => name)).toEqual(['recorded-base']);
    expect(cloud.statusOf('recorded-2')).toBe('ACTIVE');
  });

  it('the id of a deleted image cannot be used again, and a protected image cannot be deleted', async () => {
    const opened = await stage();
    await upload(opened, recordedIds.image);
    await opened.cloud.images.protect(recordedIds.image, true);
    await expect(opened.cloud.images.delete(recordedIds.image)).rejects.toMatchObject({ status: 403 });
    await opened.cloud.images.protect(recordedIds.image, false);
    await opened.cloud.images.delete(recordedIds.image);
    await expect(upload(opened, recordedIds.image)).rejects.toMatchObject({ status: 409 });
  });

  it('pages of servers and images', async () => {
    const { cloud: client } = await two({ pageSize: 1 });
    expect((await client.servers.list([tag])).map(({ name }) => name)).toEqual(['recorded-2', 'recorded-1']);
    for (let index = 0; index < 30; index++) cloud.addImage({ name: `other-${index}` });
    expect(await client.images.list()).toHaveLength(31);
  });

  it('lists by tag leave out servers of others, also those with the name of a member', async () => {
    const { cloud: client } = await two();
    cloud.addServer({ name: 'recorded-1' });
    const ids = (await client.servers.list([tag])).map(({ id }) => id);
    expect([cloud.servers.length, ids.length, ids.includes(cloud.servers[2]?.id ?? '')]).toEqual([3, 2, false]);
  });
});
