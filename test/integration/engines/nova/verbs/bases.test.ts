import { rm } from 'node:fs/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { fleetLayout } from '../../../../../src/adapters/store/layout.js';
import { importFile, previewFile } from '../../../../../src/engines/nova/verbs/import-file.js';
import type { CloudImage, CloudServer } from '../../../../fakes/openstack/stateful/world.js';
import { BasesLab, disk, sha512 } from '../../../../support/openstack/bases-lab.js';
import { addMember, damageRecord, digestOf, fleetId, operationOf, recordOf } from '../../../../support/openstack/recorded-fleet.js';

const lab = BasesLab.here();
/** A server of a fleet that another host has recorded. */
const remoteMember = (imageId: string): CloudServer =>
  addMember(lab.cloud, { fleet: 'remote', fleetId, index: 1, digest: 'x' }, { imageId });

describe('a file as a base image', () => {
  it('is compared without a change for a dry run', async () => {
    const content = disk(1);
    const path = await lab.file('golden.img', content);
    const request = { path, trustChain: false };
    const base = { name: 'golden', digest: sha512(content).slice(0, 64) };
    expect(await previewFile(lab.context, request, {})).toMatchObject({ base, image: undefined });
    expect(lab.cloud.images).toEqual([]);
    const { id } = await importFile(lab.context, request, {});
    expect(await previewFile(lab.context, request, {})).toMatchObject({ base, image: { id } });
  });
});

describe('the list of base images', () => {
  it('has images of cowherd and those that fleets use, with what is wrong', async () => {
    const digest = digestOf(lab.image('ubuntu', { name: 'Ubuntu 24.04', visibility: 'public', owner: 'other' }));
    lab.image('unused');
    lab.image('shared', { name: 'theirs', owner: 'other', tags: ['cowherd'], properties: { 'cowherd:base': 'theirs' } });
    lab.image('queued', { tags: ['cowherd'], properties: { 'cowherd:base': 'queued' }, status: 'queued', sha512: null });
    const properties = { 'cowherd:base': 'own', 'cowherd:sha512': 'f'.repeat(128) };
    lab.image('own', { tags: ['cowherd'], isProtected: true, properties });
    await lab.fleets.write(recordOf('lab', 1, { digest, image: 'ubuntu' }));
    await lab.fleets.write(recordOf('other', 1, { digest: 'e'.repeat(64), image: 'ubuntu' }));
    await lab.fleets.write(recordOf('gone', 1, { digest: 'd'.repeat(64), image: 'deleted' }));
    await damageRecord(lab.root, 'broken');
    remoteMember('own');

    const { bases: listed, damaged } = await lab.bases.list();
    expect(listed).toMatchObject([
      { name: 'own', fleets: ['remote'], problems: ['its hash differs from the one at its completion'], path: 'glance:own' },
      { name: 'ubuntu-24-04', fleets: ['lab', 'other'], problems: ['its hash differs from the record of other'], digest },
    ]);
    expect(damaged).toEqual([
      { path: 'fleet broken', reason: 'fleet.json of broken is damaged: it is not JSON' },
      { path: 'glance:deleted', reason: 'it is missing, but in use by gone' },
      { path: 'glance:queued', reason: expect.stringContaining('status queued: ') },
    ]);
    await expect(lab.bases.verify('own', {})).rejects.toMatchObject({
      code: 'BASE_CHANGED',
      details: expect.arrayContaining(['glance:own']),
    });
    await expect(lab.bases.verify('ubuntu', {})).rejects.toMatchObject({ code: 'BASE_NOT_FOUND' });
    await expect(lab.bases.verify('Ubuntu 24.04', {})).rejects.toMatchObject({ code: 'BASE_CHANGED' });
  });

  it('says that only hashes are compared', async () => {
    const added = await lab.add(await lab.file('golden.img', disk(1)));
    expect(await lab.bases.verify('golden', {})).toEqual({
      ...{ name: 'golden', digest: added.digest, path: added.path, hash: 'sha512', layers: [] },
      warning: 'only the hash that the Image service keeps was compared, not the content',
    });
    lab.cloud.image('golden').isProtected = false;
    expect((await lab.bases.verify('golden', {})).warning).toContain('it is not protected');
  });
});

describe('base remove', () => {
  const own = { tags: ['cowherd'], properties: { 'cowherd:base': 'golden' }, name: 'golden', isProtected: true };

  it('refuses images that a fleet or a server uses', async () => {
    const digest = digestOf(lab.image('own', own));
    const record = recordOf('lab', 1, { digest, image: 'own' });
    await lab.fleets.write(record);
    await expect(lab.bases.remove('golden', {})).rejects.toMatchObject({
      code: 'BASE_IN_USE',
      hint: expect.stringContaining('cowherd teardown lab'),
    });
    // During a rebase, the intent has the new image, and the record does not have it yet.
    await lab.fleets.write(recordOf('lab', 1, { digest: 'e'.repeat(64), image: 'former' }));
    await lab.fleets.beginOperation('lab', operationOf('rebase', record));
    await expect(lab.bases.remove('golden', {})).rejects.toMatchObject({ code: 'BASE_IN_USE' });
    await lab.fleets.endOperation('lab');
    const server = lab.cloud.addServer({ name: 's', imageId: 'own' });
    await expect(lab.bases.remove('golden', {})).rejects.toMatchObject({
      code: 'BASE_IN_USE',
      message: expect.stringContaining('servers s'),
    });
    lab.cloud.removeServer(server);
    await damageRecord(lab.root, 'broken');
    await expect(lab.bases.remove('golden', {})).rejects.toMatchObject({
      code: 'BASE_IN_USE',
      message: expect.stringContaining('cannot be read'),
    });
    expect(lab.cloud.image('golden').isProtected).toBe(true);
    await rm(fleetLayout(lab.root, 'broken').directory, { recursive: true });
    expect(await lab.bases.remove('golden', {})).toMatchObject({ name: 'golden', digest });
    expect(lab.cloud.images).toEqual([]);
  });

  it.each(['lost', { status: 500 }] as const)('succeeds after a reply that was %j', async (kind) => {
    lab.image('own', own);
    lab.fake.fail(({ method }) => method === 'DELETE' || method === 'PATCH', kind, 2);
    expect(await lab.bases.remove('golden', {})).toMatchObject({ name: 'golden' });
    expect(lab.cloud.images).toEqual([]);
  });

  it('protects the image again if the cloud refuses', async () => {
    lab.image('own', own);
    lab.fake.fail(({ method }) => method === 'DELETE', {
      status: 409,
      reply: { message: 'Image own could not be deleted because it is in use' },
    });
    await expect(lab.bases.remove('golden', {})).rejects.toMatchObject({ code: 'BASE_IN_USE', hint: expect.any(String) });
    expect(lab.cloud.image('golden').isProtected).toBe(true);
  });

  it('leaves images of others alone', async () => {
    lab.image('ubuntu');
    lab.image('shared', { owner: 'other', tags: ['cowherd'], properties: { 'cowherd:base': 'shared' } });
    for (const ref of ['ubuntu', 'shared']) {
      await expect(lab.bases.remove(ref, {})).rejects.toMatchObject({
        code: 'BASE_REFUSED',
        hint: expect.stringContaining('openstack image delete'),
      });
    }
    await expect(lab.bases.remove('nothing', {})).rejects.toMatchObject({ code: 'BASE_NOT_FOUND', hint: expect.any(String) });
    expect(lab.cloud.images).toHaveLength(2);
  });
});

describe('base prune', () => {
  const recent = { created: 0 };
  const own = (name: string): Partial<CloudImage> & { name: string } => ({
    ...{ name, tags: ['cowherd'], properties: { 'cowherd:base': name }, isProtected: true },
  });
  const noFile = { sha512: null, bytes: null, isProtected: false };

  beforeEach(async () => {
    await lab.fleets.write(recordOf('lab', 1, { digest: digestOf(lab.image('used', own('used'))), image: 'used' }));
    lab.image('old', own('golden'));
    lab.image('new', own('golden'));
    lab.image('foreign', { name: 'foreign' });
    lab.image('other project', { ...own('golden'), owner: 'other' });
    lab.image('abandoned', { ...own('a'), ...noFile, status: 'queued' });
    lab.image('uploading', { ...own('b'), ...noFile, status: 'saving', created: -3_600_000 });
    lab.image('just begun', { ...own('c'), ...noFile, status: 'queued', ...recent });
    // An image of a server inherits the properties of the server's image; only that of a killed promote is "creating".
    lab.image('of a user', { properties: { 'cowherd:base': 'golden', 'cowherd:state': 'ready', 'cowherd:request': 'r' } });
    lab.image('killed promote', { properties: { 'cowherd:base': 'd', 'cowherd:state': 'creating', 'cowherd:request': 's' } });
    lab.image('running promote', { properties: { 'cowherd:base': 'e', 'cowherd:state': 'creating' }, ...recent });
    lab.image('promote of others', { properties: { 'cowherd:state': 'creating' }, owner: 'other' });
  });

  it('lists what would be removed, and removes exactly that', async () => {
    const before = lab.ids();
    const listed = await lab.bases.prune({ remove: false });
    expect(listed).toMatchObject({ dryRun: true, kept: 3 });
    expect(lab.ids()).toEqual(before);
    const removed = await lab.bases.prune({ remove: true });
    expect(removed.images).toEqual(listed.images);
    expect(before.filter((id) => !lab.ids().includes(id))).toEqual(['abandoned', 'killed promote', 'new', 'old']);
  });

  it('keeps the newest import of each name', async () => {
    await lab.bases.prune({ remove: true, keepNewest: true });
    expect([lab.ids().includes('new'), lab.ids().includes('old')]).toEqual([true, false]);
  });

  it('keeps what only a server uses', async () => {
    remoteMember('old');
    await lab.bases.prune({ remove: true });
    expect([lab.ids().includes('new'), lab.ids().includes('old')]).toEqual([false, true]);
  });
});
