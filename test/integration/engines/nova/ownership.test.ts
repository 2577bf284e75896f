import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseWaitFor } from '../../../../src/core/guest/stages.js';
import { metadataOf, tagsOf } from '../../../../src/engines/nova/core/member-tags.js';
import type { Received } from '../../../fakes/openstack/fake-cloud.js';
import { fleet, NovaLab } from '../../../support/openstack/nova-lab.js';

/** Which servers and images belong to a fleet: tags, metadata and record have to say so. */

let lab: NovaLab;
beforeEach(async () => {
  lab = await NovaLab.open();
});
afterEach(() => lab.close());

const isCreate = ({ method, path }: Received): boolean => method === 'POST' && path === '/v2.1/servers';

describe('after a lost reply', () => {
  it('a server of somebody else with the unique tag is neither taken nor deleted', async () => {
    await lab.spawn(1);
    const [own] = lab.members;
    if (own === undefined) throw new Error('no member');
    lab.cloud.removeServer(own);
    const other = lab.cloud.addServer({ name: 'other', tags: [...own.tags], metadata: { owner: 'somebody' }, created: -60_000 });
    lab.cloud.fake.fail(isCreate, 'lost');
    expect((await lab.spawn(1)).counts).toMatchObject({ created: 1, failed: 0 });
    lab.cloud.settle();
    expect(lab.cloud.servers.map(({ id, name }) => (id === other.id ? 'other' : name))).toEqual(['other', `${fleet}-001`]);
  });

  it('a server of the member that is being deleted is not the new one', async () => {
    await lab.spawn(1);
    const [own] = lab.members;
    if (own === undefined) throw new Error('no member');
    lab.cloud.removeServer(own);
    lab.cloud.fake.fail(isCreate, 'lost');
    let old: string | undefined;
    lab.cloud.fake.on((request) => {
      // It is listed again when the new one is looked for.
      if (isCreate(request)) {
        old = lab.cloud.addServer({ ...own, sequence: 0, taskState: 'deleting' }).id;
      }
      return undefined;
    });
    expect((await lab.spawn(1)).members).toMatchObject([{ outcome: 'created', uuid: expect.not.stringMatching(`^${own.id}$`) }]);
    expect(old).toBe(own.id);
    expect(lab.members.filter(({ vmState, taskState }) => vmState === 'active' && taskState === null)).toHaveLength(1);
  });
});

it('spawn deletes a surplus server of a member, which runs on and is waited for', async () => {
  await lab.spawn(1);
  const [own] = lab.members;
  if (own === undefined) throw new Error('no member');
  lab.cloud.addServer({
    name: 'twin',
    imageId: own.imageId,
    tags: [...own.tags],
    metadata: { ...own.metadata },
    created: own.created + 9_000,
  });
  const wait = parseWaitFor('console=TINY-READY');
  const { members, stages } = await lab.spawn(1, { base: undefined, wait });
  expect(members).toMatchObject([{ uuid: own.id, outcome: 'unchanged', state: 'running' }]);
  expect(stages).toContainEqual(expect.objectContaining({ name: 'wait', count: 1 }));
  lab.cloud.settle();
  expect(lab.members.map(({ id }) => id)).toEqual([own.id]);
});

describe('a teardown', () => {
  const twin = (changes: Record<string, string>, tags?: string[]) => {
    const [own] = lab.members;
    if (own === undefined) throw new Error('no member');
    return lab.cloud.addServer({
      ...{ name: 'twin', imageId: own.imageId, tags: tags ?? [...own.tags] },
      metadata: { ...own.metadata, ...changes },
    });
  };

  it('keeps servers of the fleet that are not in its record, and says how to delete them', async () => {
    await lab.spawn(2);
    const id = lab.members[0]?.metadata['cowherd:id'] ?? '';
    const mark = { fleet, fleetId: id, index: 7, digest: '' };
    const orphan = twin({ 'cowherd:index': '7' }, tagsOf(mark));
    const engine = await lab.engine();
    const { counts, notes } = await engine.teardown({ fleet });
    const kept = new RegExp(`^kept 1 servers of this fleet .*: ${orphan.name} \\(${orphan.id}\\); to delete them, too: cowherd status`);
    expect([counts, notes]).toMatchObject([{ removed: 2, failed: 0 }, [expect.stringMatching(kept)]]);
    expect(lab.cloud.servers.map((server) => server.id)).toEqual([orphan.id]);
    await engine.recover(fleet);
    expect((await engine.teardown({ fleet })).counts).toMatchObject({ removed: 1 });
    expect(lab.cloud.servers).toEqual([]);
  });

  it('deletes a server of a member that appears meanwhile', async () => {
    await lab.spawn(2);
    const [own] = lab.members;
    let isDone = false;
    lab.cloud.fake.on(({ method, service }) => {
      if (method === 'DELETE' && service === 'compute' && !isDone) {
        isDone = true;
        twin({});
      }
      return undefined;
    });
    expect((await (await lab.engine()).teardown({ fleet })).counts).toMatchObject({ removed: 2, failed: 0 });
    lab.cloud.settle();
    expect([own?.name, lab.cloud.servers]).toEqual([`${fleet}-001`, []]);
  });

  it('with its base image keeps an image that another fleet of that name uses', async () => {
    const file = join(lab.root, 'disk.img');
    await writeFile(file, Buffer.concat([Buffer.alloc(510), Buffer.from([0x55, 0xaa]), Buffer.alloc(512 * 127)]));
    await lab.spawn(1, { base: file, format: 'raw' });
    const mark = { fleet, fleetId: 'of-another-host', index: 1, digest: '' };
    const other = twin(metadataOf(mark), tagsOf(mark));
    const { notes } = await (await lab.engine()).teardown({ fleet, withBase: true });
    expect(notes).toEqual([expect.stringContaining('of another fleet'), expect.stringContaining('base kept')]);
    expect(lab.cloud.world.images.has(other.imageId)).toBe(true);
  });
});
