import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fleetLayout } from '../../../../../src/adapters/store/layout.js';
import type { NovaContext } from '../../../../../src/engines/nova/context.js';
import { novaBases } from '../../../../../src/engines/nova/verbs/bases.js';
import { importFile, previewFile } from '../../../../../src/engines/nova/verbs/import-file.js';
import type { FleetStore } from '../../../../../src/ports/fleets.js';
import type { EngineBases } from '../../../../../src/services/engine/engine.js';
import type { FakeCloud, Received } from '../../../../fakes/openstack/fake-cloud.js';
import type { StatefulCloud } from '../../../../fakes/openstack/stateful/stateful-cloud.js';
import type { CloudImage, CloudServer } from '../../../../fakes/openstack/stateful/world.js';
import { NovaLab } from '../../../../support/openstack/nova-lab.js';
import {
  addMember,
  addOldImage,
  damageRecord,
  digestOf,
  fleetId,
  operationOf,
  recordOf,
} from '../../../../support/openstack/recorded-fleet.js';

let lab: NovaLab;
let cloud: StatefulCloud;
let fake: FakeCloud;
let fleets: FleetStore;
let context: NovaContext;
let bases: EngineBases;
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cwt-nova-bases-'));
  // Its time passes with each request.
  lab = await NovaLab.openEmpty(undefined, { msPerRead: 700 });
  ({ cloud } = lab);
  ({ fake } = cloud);
  context = await lab.context();
  ({ fleets } = context.ports);
  bases = novaBases(context);
});
afterEach(async () => {
  expect(fake.unknown).toEqual([]);
  await lab.close();
  await rm(directory, { recursive: true });
});

const yearMs = 365 * 24 * 3_600_000;
const image = (id: string, fields: Partial<CloudImage> = {}): CloudImage => addOldImage(cloud, id, fields);
const ids = (): string[] => cloud.images.map(({ id }) => id).sort();
/** A server of a fleet that another host has recorded. */
const remoteMember = (imageId: string): CloudServer => addMember(cloud, { fleet: 'remote', fleetId, index: 1, digest: 'x' }, { imageId });

const isUpload = ({ method, path }: Received): boolean => method === 'PUT' && path.endsWith('/file');
const isPatch = ({ method }: Received): boolean => method === 'PATCH';

/** A raw disk with a boot sector. */
function disk(seed: number, sectors = 8): Buffer {
  const content = Buffer.alloc(512 * sectors, seed);
  content.writeUInt16LE(0xaa55, 510);
  return content;
}

function sha512(content: Buffer): string {
  return createHash('sha512').update(content).digest('hex');
}

async function file(name: string, content: Buffer): Promise<string> {
  await writeFile(join(directory, name), content);
  return join(directory, name);
}

const add = (path: string, more: object = {}) => bases.add({ path, trustChain: false, ...more }, {});

describe('base add', () => {
  it('uploads a file once, and protects it', async () => {
    const content = disk(1);
    const path = await file('Golden Disk.img', content);
    const seen: string[] = [];
    const added = await bases.add(
      { path, trustChain: false },
      { onProgress: (event) => event.kind === 'bytes' && seen.push(`${event.what} ${event.doneBytes}`) },
    );
    const digest = sha512(content).slice(0, 64);
    expect(added).toMatchObject({
      ...{
        name: 'golden-disk',
        ref: `golden-disk@${digest.slice(0, 12)}`,
        digest,
        format: 'raw',
        virtualBytes: 4096,
        allocatedBytes: 4096,
      },
      ...{ how: 'copied', fleets: [], problems: [], promotedFrom: null, depth: 1, generalisation: [] },
    });
    expect(added).not.toHaveProperty('warning');
    expect(seen).toEqual([`uploading ${path} 4096`]);
    const uploaded = cloud.image('golden-disk');
    expect(uploaded).toMatchObject({
      ...{ tags: ['cowherd'], isProtected: true, minDisk: 1, sha512: sha512(content) },
      properties: { 'cowherd:base': 'golden-disk', 'cowherd:sha512': sha512(content) },
    });

    expect(await add(path)).toMatchObject({ how: 'already there', path: `glance:${uploaded.id}` });
    expect([cloud.images.length, fake.count('PUT', /file/)]).toEqual([1, 1]);
  });

  it('of another content with the same name is another import', async () => {
    const first = await add(await file('golden.img', disk(1)));
    const second = await add(await file('golden.img', disk(2)));
    expect((await bases.list()).bases.map(({ ref }) => ref)).toEqual([first.ref, second.ref]);
    // The name alone means the newest one, as on this host.
    expect(await bases.inspect('golden')).toMatchObject({ digest: second.digest, source: 'a file, by cowherd base add' });
    expect(await bases.inspect(first.ref)).toMatchObject({ digest: first.digest });
    await expect(bases.remove('golden', {})).rejects.toMatchObject({ code: 'BAD_USAGE', hint: expect.stringContaining('base remove') });
    expect(await bases.remove(first.ref, {})).toEqual({ name: 'golden', digest: first.digest, freedBytes: 4096 });
    expect(await bases.remove('golden', {})).toMatchObject({ digest: second.digest });
    expect(cloud.images).toEqual([]);
  });

  it('of the same content with another name is another image', async () => {
    const path = await file('golden.img', disk(1));
    await add(path);
    expect(await add(path, { name: 'other' })).toMatchObject({ how: 'copied', name: 'other' });
    expect(cloud.images).toHaveLength(2);
  });

  const qcow2 = (set: (header: Buffer) => void): Buffer => {
    const header = Buffer.alloc(65_536);
    header.write('QFI\xfb', 'latin1');
    header.writeUInt32BE(3, 4);
    header.writeUInt32BE(16, 20);
    header.writeBigUInt64BE(5n * 1024n ** 3n, 24);
    header.writeUInt32BE(104, 100);
    set(header);
    return header;
  };

  it('reads the size of a qcow2 disk, so that the cloud refuses flavors that are too small', async () => {
    await add(
      await file(
        'golden.qcow2',
        qcow2(() => undefined),
      ),
    );
    expect(cloud.image('golden')).toMatchObject({ format: 'qcow2', minDisk: 5, virtualBytes: 5 * 1024 ** 3 });
  });

  it.each([
    ['a backing file', 'golden.qcow2', qcow2((header) => header.writeBigUInt64BE(512n, 8)), 'BASE_REFUSED', 'qemu-img convert -O qcow2'],
    [
      'an external data file',
      'golden.qcow2',
      qcow2((header) => header.writeBigUInt64BE(4n, 72)),
      'BASE_REFUSED',
      'qemu-img convert -O qcow2',
    ],
    ['encryption', 'golden.qcow2', qcow2((header) => header.writeUInt32BE(1, 32)), 'BASE_REFUSED', 'unencrypted'],
    ['text', 'golden.img', Buffer.from('<html><body>404</body></html>'), 'BASE_REFUSED', 'direct link'],
    ['a part of a sector', 'golden.img', Buffer.concat([disk(1), Buffer.alloc(7)]), 'BASE_REFUSED', 'truncate'],
    ['no valid name', '.img', disk(1), 'BAD_USAGE', 'Rename'],
    ['nothing', 'golden.img', Buffer.alloc(0), 'BASE_REFUSED', 'not empty'],
  ])('refuses a file with %s, without a request', async (_what, name, content, code, hint) => {
    const path = await file(name, content);
    // Also if a backing file is trusted: the cloud does not have it.
    await expect(add(path, { trustChain: true })).rejects.toMatchObject({ code, hint: expect.stringContaining(hint) });
    expect(fake.received).toEqual([]);
  });

  it('refuses a URL, a missing file and a directory', async () => {
    await expect(add('https://example.org/golden.qcow2')).rejects.toMatchObject({
      code: 'BAD_USAGE',
      hint: expect.stringContaining('curl'),
    });
    await expect(add(join(directory, 'x.img'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await expect(add(directory)).rejects.toMatchObject({ code: 'BASE_REFUSED', message: expect.stringContaining('directory') });
  });

  it('warns about a raw disk that cannot boot', async () => {
    expect((await add(await file('golden.img', Buffer.alloc(4096)))).warning).toContain('no boot sector');
  });

  it('protects an image again, and completes an upload that ended before its seal', async () => {
    const path = await file('golden.img', disk(1));
    fake.fail(isPatch, { status: 400, reply: 'no' });
    await expect(add(path)).rejects.toMatchObject({ hint: expect.any(String) });
    expect((await bases.list()).bases).toMatchObject([{ problems: ['it is not protected'] }]);
    expect(await add(path)).toMatchObject({ how: 'already there', problems: [] });
    expect(cloud.images.map(({ isProtected }) => isProtected)).toEqual([true]);
  });

  it('whose seal has a lost reply is sealed', async () => {
    fake.fail(isPatch, 'lost');
    expect(await add(await file('golden.img', disk(1)))).toMatchObject({ problems: [] });
  });

  it('that is interrupted leaves no image', async () => {
    const path = await file('golden.img', disk(1));
    const end = new AbortController();
    fake.fail(isUpload, 'silence');
    setTimeout(() => end.abort(), 100);
    await expect(bases.add({ path, trustChain: false }, { signal: end.signal })).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(cloud.images).toEqual([]);
  });

  it('of a file that changes meanwhile leaves no image', async () => {
    const path = await file('golden.img', disk(1));
    fake.on((received) => (isUpload(received) ? void writeFileSync(path, disk(2)) : undefined));
    await expect(add(path)).rejects.toMatchObject({
      code: 'BASE_REFUSED',
      message: expect.stringContaining('changed while it was uploaded'),
    });
    expect(cloud.images).toEqual([]);
  });

  it.each([
    ['is protected', true, 4 * yearMs, 'already there', ['theirs']],
    ['is older', false, -6 * yearMs, 'already there', ['theirs']],
    ['is newer', false, 4 * yearMs, 'copied', ['ours', 'theirs']],
  ] as const)('at the same time as another one, whose image %s, keeps one', async (_what, isProtected, created, how, left) => {
    const content = disk(1);
    const path = await file('golden.img', content);
    let ours: string | undefined;
    fake.on((received) => {
      if (!isUpload(received)) return undefined;
      ours = cloud.image('golden').id;
      const same = { name: 'golden', bytes: content.length, sha512: sha512(content), tags: ['cowherd'] };
      image('theirs', { ...same, properties: { 'cowherd:base': 'golden' }, isProtected, created });
      return undefined;
    });
    const added = await add(path);
    expect(added.how).toBe(how);
    expect(
      ids()
        .map((id) => (id === ours ? 'ours' : id))
        .sort(),
    ).toEqual(left);
    // Whatever is left, every later command uses the same image.
    expect(await add(path)).toMatchObject({ how: 'already there', path: added.path });
  });
});

describe('a file as a base image', () => {
  it('is compared without a change for a dry run', async () => {
    const content = disk(1);
    const path = await file('golden.img', content);
    const request = { path, trustChain: false };
    const base = { name: 'golden', digest: sha512(content).slice(0, 64) };
    expect(await previewFile(context, request, {})).toMatchObject({ base, image: undefined });
    expect(cloud.images).toEqual([]);
    const { id } = await importFile(context, request, {});
    expect(await previewFile(context, request, {})).toMatchObject({ base, image: { id } });
  });
});

describe('the list of base images', () => {
  it('has images of cowherd and those that fleets use, with what is wrong', async () => {
    const digest = digestOf(image('ubuntu', { name: 'Ubuntu 24.04', visibility: 'public', owner: 'other' }));
    image('unused');
    image('shared', { name: 'theirs', owner: 'other', tags: ['cowherd'], properties: { 'cowherd:base': 'theirs' } });
    image('queued', { tags: ['cowherd'], properties: { 'cowherd:base': 'queued' }, status: 'queued', sha512: null });
    const properties = { 'cowherd:base': 'own', 'cowherd:sha512': 'f'.repeat(128) };
    image('own', { tags: ['cowherd'], isProtected: true, properties });
    await fleets.write(recordOf('lab', 1, { digest, image: 'ubuntu' }));
    await fleets.write(recordOf('other', 1, { digest: 'e'.repeat(64), image: 'ubuntu' }));
    await fleets.write(recordOf('gone', 1, { digest: 'd'.repeat(64), image: 'deleted' }));
    await damageRecord(lab.root, 'broken');
    remoteMember('own');

    const { bases: listed, damaged } = await bases.list();
    expect(listed).toMatchObject([
      { name: 'own', fleets: ['remote'], problems: ['its hash differs from the one at its completion'], path: 'glance:own' },
      { name: 'ubuntu-24-04', fleets: ['lab', 'other'], problems: ['its hash differs from the record of other'], digest },
    ]);
    expect(damaged).toEqual([
      { path: 'fleet broken', reason: 'fleet.json of broken is damaged: it is not JSON' },
      { path: 'glance:deleted', reason: 'it is missing, but in use by gone' },
      { path: 'glance:queued', reason: expect.stringContaining('status queued: ') },
    ]);
    await expect(bases.verify('own', {})).rejects.toMatchObject({ code: 'BASE_CHANGED', details: expect.arrayContaining(['glance:own']) });
    await expect(bases.verify('ubuntu', {})).rejects.toMatchObject({ code: 'BASE_NOT_FOUND' });
    await expect(bases.verify('Ubuntu 24.04', {})).rejects.toMatchObject({ code: 'BASE_CHANGED' });
  });

  it('says that only hashes are compared', async () => {
    const added = await add(await file('golden.img', disk(1)));
    expect(await bases.verify('golden', {})).toEqual({
      ...{ name: 'golden', digest: added.digest, path: added.path, hash: 'sha512', layers: [] },
      warning: 'only the hash that the Image service keeps was compared, not the content',
    });
    cloud.image('golden').isProtected = false;
    expect((await bases.verify('golden', {})).warning).toContain('it is not protected');
  });
});

describe('base remove', () => {
  const own = { tags: ['cowherd'], properties: { 'cowherd:base': 'golden' }, name: 'golden', isProtected: true };

  it('refuses images that a fleet or a server uses', async () => {
    const digest = digestOf(image('own', own));
    const record = recordOf('lab', 1, { digest, image: 'own' });
    await fleets.write(record);
    await expect(bases.remove('golden', {})).rejects.toMatchObject({
      code: 'BASE_IN_USE',
      hint: expect.stringContaining('cowherd teardown lab'),
    });
    // During a rebase, the intent has the new image, and the record does not have it yet.
    await fleets.write(recordOf('lab', 1, { digest: 'e'.repeat(64), image: 'former' }));
    await fleets.beginOperation('lab', operationOf('rebase', record));
    await expect(bases.remove('golden', {})).rejects.toMatchObject({ code: 'BASE_IN_USE' });
    await fleets.endOperation('lab');
    const server = cloud.addServer({ name: 's', imageId: 'own' });
    await expect(bases.remove('golden', {})).rejects.toMatchObject({ code: 'BASE_IN_USE', message: expect.stringContaining('servers s') });
    cloud.removeServer(server);
    await damageRecord(lab.root, 'broken');
    await expect(bases.remove('golden', {})).rejects.toMatchObject({
      code: 'BASE_IN_USE',
      message: expect.stringContaining('cannot be read'),
    });
    expect(cloud.image('golden').isProtected).toBe(true);
    await rm(fleetLayout(lab.root, 'broken').directory, { recursive: true });
    expect(await bases.remove('golden', {})).toMatchObject({ name: 'golden', digest });
    expect(cloud.images).toEqual([]);
  });

  it.each(['lost', { status: 500 }] as const)('succeeds after a reply that was %j', async (kind) => {
    image('own', own);
    fake.fail(({ method }) => method === 'DELETE' || method === 'PATCH', kind, 2);
    expect(await bases.remove('golden', {})).toMatchObject({ name: 'golden' });
    expect(cloud.images).toEqual([]);
  });

  it('protects the image again if the cloud refuses', async () => {
    image('own', own);
    fake.fail(({ method }) => method === 'DELETE', {
      status: 409,
      reply: { message: 'Image own could not be deleted because it is in use' },
    });
    await expect(bases.remove('golden', {})).rejects.toMatchObject({ code: 'BASE_IN_USE', hint: expect.any(String) });
    expect(cloud.image('golden').isProtected).toBe(true);
  });

  it('leaves images of others alone', async () => {
    image('ubuntu');
    image('shared', { owner: 'other', tags: ['cowherd'], properties: { 'cowherd:base': 'shared' } });
    for (const ref of ['ubuntu', 'shared']) {
      await expect(bases.remove(ref, {})).rejects.toMatchObject({
        code: 'BASE_REFUSED',
        hint: expect.stringContaining('openstack image delete'),
      });
    }
    await expect(bases.remove('nothing', {})).rejects.toMatchObject({ code: 'BASE_NOT_FOUND', hint: expect.any(String) });
    expect(cloud.images).toHaveLength(2);
  });
});

describe('base prune', () => {
  const recent = { created: 0 };
  const own = (name: string): Partial<CloudImage> & { name: string } => ({
    ...{ name, tags: ['cowherd'], properties: { 'cowherd:base': name }, isProtected: true },
  });
  const noFile = { sha512: null, bytes: null, isProtected: false };

  beforeEach(async () => {
    await fleets.write(recordOf('lab', 1, { digest: digestOf(image('used', own('used'))), image: 'used' }));
    image('old', own('golden'));
    image('new', own('golden'));
    image('foreign', { name: 'foreign' });
    image('other project', { ...own('golden'), owner: 'other' });
    image('abandoned', { ...own('a'), ...noFile, status: 'queued' });
    image('uploading', { ...own('b'), ...noFile, status: 'saving', created: -3_600_000 });
    image('just begun', { ...own('c'), ...noFile, status: 'queued', ...recent });
    // An image of a server inherits the properties of the server's image; only that of a killed promote is "creating".
    image('of a user', { properties: { 'cowherd:base': 'golden', 'cowherd:state': 'ready', 'cowherd:request': 'r' } });
    image('killed promote', { properties: { 'cowherd:base': 'd', 'cowherd:state': 'creating', 'cowherd:request': 's' } });
    image('running promote', { properties: { 'cowherd:base': 'e', 'cowherd:state': 'creating' }, ...recent });
    image('promote of others', { properties: { 'cowherd:state': 'creating' }, owner: 'other' });
  });

  it('lists what would be removed, and removes exactly that', async () => {
    const before = ids();
    const listed = await bases.prune({ remove: false });
    expect(listed).toMatchObject({ dryRun: true, kept: 3 });
    expect(ids()).toEqual(before);
    const removed = await bases.prune({ remove: true });
    expect(removed.images).toEqual(listed.images);
    expect(before.filter((id) => !ids().includes(id))).toEqual(['abandoned', 'killed promote', 'new', 'old']);
  });

  it('keeps the newest import of each name', async () => {
    await bases.prune({ remove: true, keepNewest: true });
    expect([ids().includes('new'), ids().includes('old')]).toEqual([true, false]);
  });

  it('keeps what only a server uses', async () => {
    remoteMember('old');
    await bases.prune({ remove: true });
    expect([ids().includes('new'), ids().includes('old')]).toEqual([false, true]);
  });
});
