import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { metadataOf, tagsOf } from '../../../../src/engines/nova/core/member-tags.js';
import { fleet, NovaLab } from '../../../support/openstack/nova-lab.js';

/** Records that are rebuilt, and operations that are resumed, from what the cloud and the store still have. */

let lab: NovaLab;
beforeEach(async () => {
  lab = await NovaLab.open();
});
afterEach(() => lab.close());

const directory = (): string => join(lab.root, 'fleets', fleet);

async function recovered(): Promise<Record<string, unknown> & { placement: { settings: object }; members: unknown[] }> {
  await rm(directory(), { recursive: true });
  const engine = await lab.engine();
  await engine.recover(fleet);
  // Reads and checks it.
  await engine.status(fleet);
  return JSON.parse(await readFile(join(directory(), 'fleet.json'), 'utf8'));
}

describe('a rebuilt record', () => {
  beforeEach(() => lab.spawn(2, { spec: { sshUser: 'debian', network: 'network=private' } }));

  it('has what the fleet was created with', async () => {
    const before = JSON.parse(await readFile(join(directory(), 'fleet.json'), 'utf8'));
    const after = await recovered();
    expect([after.id, after.base, after.placement, after.members]).toEqual([before.id, before.base, before.placement, before.members]);
    expect(after.spec).toMatchObject({ sshUser: 'debian', memoryMiB: 128 });
  });

  it('can be read whatever users have written into the metadata, and keeps the settings that are valid', async () => {
    const settings = (await recovered()).placement.settings;
    const written = {
      ...{ 'cowherd:set:sshUser': '"no user\\n"', 'cowherd:set:Wrong Name': '"x"', 'cowherd:set:__proto__': '{"a":1}' },
      ...{ 'cowherd:set:az': '{"an":"object"}', 'cowherd:set:key': 'not JSON' },
    };
    for (const server of lab.members) Object.assign(server.metadata, written);
    const after = await recovered();
    expect(after.placement.settings).toEqual(settings);
    expect(after.spec).toMatchObject({ sshUser: 'root' });
  });

  it('has no members beyond the limit', async () => {
    const [own] = lab.members;
    if (own === undefined) throw new Error('no member');
    const mark = { fleet, fleetId: own.metadata['cowherd:id'] ?? '', index: 999_999_999, digest: '' };
    lab.cloud.addServer({ name: 'other', tags: tagsOf(mark), metadata: metadataOf(mark), imageId: own.imageId });
    expect((await recovered()).members).toMatchObject([{ index: 1 }, { index: 2 }]);
  });

  it('is not made from servers whose marks name no fleet that can exist', async () => {
    for (const server of lab.members) {
      const mark = { fleet, fleetId: 'no uuid', index: 1, digest: '' };
      Object.assign(server, { tags: tagsOf(mark), metadata: metadataOf(mark) });
    }
    await expect(recovered()).rejects.toMatchObject({ code: 'FLEET_NOT_FOUND' });
  });
});

it('user-data that was lost is asked for whenever a server is created, until it is given', async () => {
  await lab.spawn(2, { spec: { seed: 'nocloud' } });
  await recovered();
  const grow = (count: number | undefined, spec = {}) => lab.spawn(count, { base: undefined, spec });
  const lost = { code: 'STATE_DAMAGED', hint: expect.stringContaining('--seed nocloud') };
  await expect(grow(3)).rejects.toMatchObject(lost);
  expect((await grow(undefined)).counts).toMatchObject({ unchanged: 2 });
  await expect(grow(3)).rejects.toMatchObject(lost);
  lab.cloud.removeServer(`${fleet}-002`);
  await expect(grow(undefined)).rejects.toMatchObject(lost);
  expect((await grow(3, { seed: 'nocloud' })).counts).toMatchObject({ created: 2 });
  expect((await grow(4)).counts).toMatchObject({ created: 1 });
  expect(lab.members.map(({ userData }) => userData === null)).toEqual([false, false, false, false]);
});

it('a directory that a killed spawn left before its intent: the hint says to run it again', async () => {
  await lab.spawn(1, { spec: { seed: 'nocloud' } });
  for (const server of lab.members) lab.cloud.removeServer(server);
  // What is written before the intent stays.
  for (const name of ['fleet.json', 'history.jsonl']) await rm(join(directory(), name), { force: true });
  const engine = await lab.engine();
  await expect(engine.resume({ fleet })).rejects.toMatchObject({ code: 'FLEET_NOT_FOUND', hint: expect.stringContaining('--recover') });
  await expect(engine.recover(fleet)).rejects.toMatchObject({ code: 'FLEET_NOT_FOUND', hint: expect.stringContaining(`spawn ${fleet}`) });
  await expect(engine.teardown({ fleet })).rejects.toMatchObject({ hint: expect.stringContaining('--recover') });
  expect((await lab.spawn(1, { spec: { seed: 'nocloud' } })).counts).toMatchObject({ created: 1 });
});

it('a resumed spawn does not create members that were removed', async () => {
  await lab.spawn(3);
  const engine = await lab.engine();
  await engine.teardown({ fleet, members: ['2'] });
  await engine.stop({ fleet });
  const cancelled = new AbortController();
  // When its intent is written.
  lab.cloud.fake.on(({ path }) => {
    if (path.endsWith('/action')) cancelled.abort();
    return undefined;
  });
  const { operation } = await lab.spawn(undefined, { base: undefined, signal: cancelled.signal, concurrency: 1 });
  expect(operation.interrupted).toBe(true);
  const { members } = await engine.resume({ fleet });
  expect(members.map(({ name }) => name)).toEqual([`${fleet}-001`, `${fleet}-003`]);
  expect(lab.members.map(({ vmState }) => vmState)).toEqual(['active', 'active']);
});

it('an operation of another project is not resumed: it would find no servers, and remove the record', async () => {
  await lab.spawn(2);
  const engine = await lab.engine();
  for (const { name } of lab.members) for (let tries = 0; tries < 3; tries++) lab.cloud.stickNext('delete', name);
  const cancelled = new AbortController();
  lab.cloud.fake.on(({ method }) => {
    if (method === 'DELETE') cancelled.abort();
    return undefined;
  });
  expect((await engine.teardown({ fleet, signal: cancelled.signal })).operation.interrupted).toBe(true);
  const path = join(directory(), 'operation.json');
  const operation = JSON.parse(await readFile(path, 'utf8'));
  operation.record.placement.place = 'another';
  await writeFile(path, JSON.stringify(operation));
  await expect(engine.resume({ fleet })).rejects.toMatchObject({ code: 'BAD_USAGE', message: expect.stringContaining('another project') });
  expect(await engine.fleetNames()).toEqual([fleet]);
});
