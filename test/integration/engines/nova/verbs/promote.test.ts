import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NovaContext } from '../../../../../src/engines/nova/context.js';
import { findImage } from '../../../../../src/engines/nova/verbs/find-image.js';
import { promote } from '../../../../../src/engines/nova/verbs/promote.js';
import { leftoverImages } from '../../../../../src/engines/nova/verbs/remove-image.js';
import type { PromoteOptions, Promotion } from '../../../../../src/services/base/promote.js';
import type { FakeCloud, Received } from '../../../../fakes/openstack/fake-cloud.js';
import type { StatefulCloud } from '../../../../fakes/openstack/stateful/stateful-cloud.js';
import type { CloudImage } from '../../../../fakes/openstack/stateful/world.js';
import { NovaLab } from '../../../../support/openstack/nova-lab.js';
import { addMember, addOldImage, digestOf, fleetId, operationOf, recordOf } from '../../../../support/openstack/recorded-fleet.js';

const digest = 'd'.repeat(64);
const isAction =
  (verb: string) =>
  ({ request }: Received): boolean =>
    typeof request === 'object' && request !== null && verb in request;

let lab: NovaLab;
let cloud: StatefulCloud;
let fake: FakeCloud;
let context: NovaContext;

beforeEach(async () => {
  lab = await NovaLab.openEmpty();
  ({ cloud } = lab);
  ({ fake } = cloud);
  context = await lab.context();
  // The server's image was promoted itself: all its properties are inherited.
  addOldImage(cloud, 'base', {
    ...{ name: 'golden', tags: ['cowherd'], isProtected: true },
    properties: {
      ...{ 'cowherd:base': 'golden', 'cowherd:fleet': 'former', 'cowherd:member': 'former-001' },
      ...{ 'cowherd:parent': `older@${'0'.repeat(64)}`, 'cowherd:state': 'ready', 'cowherd:request': 'r', 'cowherd:sha512': 'x' },
    },
  });
  await context.ports.fleets.write(recordOf('lab', 2, { digest, image: 'base' }));
  for (const index of [1, 2]) addMember(cloud, { fleet: 'lab', fleetId, index, digest }, { imageId: 'base' });
  cloud.haltServer('lab-001');
});
afterEach(async () => {
  expect(fake.unknown).toEqual([]);
  expect(await context.ports.fleets.holder('lab')).toBeUndefined();
  await lab.close();
});

const run = (member: string, more: Partial<PromoteOptions> = {}): Promise<Promotion> =>
  promote(context, { member: [member], as: 'golden2', ...more });
const snapshots = (): CloudImage[] => cloud.images.filter(({ id }) => id !== 'base');
const isReadOfSnapshot = ({ method, path }: Received): boolean =>
  method === 'GET' && snapshots().some(({ id }) => path === `/v2/images/${id}`);
const actions = (): string[] =>
  fake.received
    .filter(({ path, method }) => method === 'POST' && path.endsWith('/action'))
    .map(({ request }) => Object.keys(request as object)[0] ?? '');

describe('promote', () => {
  it('makes a sealed base image of a stopped member', async () => {
    const before: unknown[] = [];
    fake.on(({ method }) => (method === 'PATCH' ? void before.push(...structuredClone(snapshots())) : undefined));
    const promotion = await run('lab-001');
    const [image] = snapshots();
    // The next command finds the cloud idle.
    expect(cloud.server('lab-001')).toMatchObject({ vmState: 'stopped', taskState: null });
    expect(image?.sha512).toMatch(/^[0-9a-f]{128}$/);
    expect(promotion).toMatchObject({
      ...{ name: 'golden2', digest: image?.sha512?.slice(0, 64), how: 'flattened', problems: [], fleets: [], depth: 1 },
      promotedFrom: { fleet: 'lab', member: 'lab-001', base: `golden@${digest.slice(0, 12)}` },
    });
    const marks = { 'cowherd:fleet': 'lab', 'cowherd:member': 'lab-001', 'cowherd:parent': `golden@${digest}` };
    expect(snapshots()).toMatchObject([
      {
        ...{ name: 'golden2', tags: ['cowherd'], isProtected: true },
        properties: { ...marks, 'cowherd:base': 'golden2', 'cowherd:state': 'ready', 'cowherd:sha512': image?.sha512 },
      },
    ]);
    // Until then it was no base image, whatever it had inherited.
    const inherited = { 'cowherd:fleet': 'lab', 'cowherd:state': 'creating', 'cowherd:sha512': '' };
    expect(before).toMatchObject([{ tags: [], isProtected: false, status: 'active', properties: inherited }]);
    expect((await findImage(context, 'golden2')).id).toBe(image?.id);
    expect(actions()).toEqual(['createImage']);
  });

  it('stops a running member, and starts it again', async () => {
    await expect(run('lab-002')).rejects.toMatchObject({ code: 'NOT_OFF', hint: expect.stringContaining('--stop') });
    const { notes } = await promote(context, { member: ['lab', '2'], as: 'golden2', stop: true });
    expect(notes).toContain('lab-002 was shut down and started again');
    expect(actions()).toEqual(['os-stop', 'createImage', 'os-start']);
    expect(cloud.server('lab-002')).toMatchObject({ vmState: 'active', taskState: null });
  });

  it('with --stop does not start a member that was stopped', async () => {
    await run('lab-001', { stop: true });
    expect(actions()).toEqual(['createImage']);
  });

  it.each([
    ['is busy', { taskState: 'powering-off' }, 'LOCKED'],
    ['is being rebuilt', { taskState: 'rebuilding' }, 'LOCKED'],
    ['is paused', { vmState: 'paused' }, 'NOT_OFF'],
    ['has failed', { vmState: 'error' }, 'NOT_OFF'],
    ['boots from a volume', { imageId: '' }, 'BASE_REFUSED'],
    ['belongs to another fleet', { metadata: {} }, 'BASE_REFUSED'],
  ] as const)('refuses a member whose server %s, without a change', async (_what, fields, code) => {
    Object.assign(cloud.server('lab-002'), fields);
    await expect(run('lab-002', { stop: true })).rejects.toMatchObject({ code, hint: expect.any(String) });
    expect(actions()).toEqual([]);
  });

  it('refuses a fleet with an unfinished command, and bad names', async () => {
    await expect(run('lab-001', { as: 'Golden 2' })).rejects.toMatchObject({ code: 'BAD_USAGE' });
    await expect(run('lab-009')).rejects.toMatchObject({ code: 'MEMBER_NOT_FOUND' });
    await context.ports.fleets.beginOperation('lab', operationOf('reset', recordOf('lab', 2, { digest, image: 'base' })));
    await expect(run('lab-001')).rejects.toMatchObject({ code: 'UNFINISHED_OPERATION' });
    expect(fake.received).toEqual([]);
  });

  it('keeps the image that has this name and content already', async () => {
    const first = await run('lab-001');
    expect(await run('lab-001')).toMatchObject({ how: 'already there', path: first.path });
    expect(snapshots()).toHaveLength(1);
    // Another content with the name is another import.
    cloud.writeFile('lab-001', 'notes');
    const second = await run('lab-001');
    expect(second).toMatchObject({ how: 'flattened', name: 'golden2' });
    expect(snapshots().map(digestOf)).toEqual([first.digest, second.digest]);
    expect(second.digest).not.toBe(first.digest);
  });
});

describe('when something fails, promote', () => {
  it.each(['lost', 'cut'] as const)('finds the image after a reply that was %s', async (kind) => {
    fake.fail(isAction('createImage'), kind);
    expect(await run('lab-001')).toMatchObject({ how: 'flattened', problems: [] });
    expect(snapshots()).toHaveLength(1);
  });

  it.each(['refused', { status: 500 }, { status: 502, reply: '<html>' }] as const)('asks again after %j', async (kind) => {
    fake.fail(isAction('createImage'), kind);
    expect(await run('lab-001')).toMatchObject({ how: 'flattened' });
    expect(snapshots()).toHaveLength(1);
  });

  it('reports a conflict, and leaves nothing', async () => {
    fake.fail(isAction('createImage'), { status: 409, reply: { conflictingRequest: { message: 'locked' } } });
    await expect(run('lab-002', { stop: true })).rejects.toMatchObject({ code: 'LOCKED' });
    expect([snapshots(), cloud.statusOf('lab-002')]).toEqual([[], 'ACTIVE']);
  });

  it('starts the member again if the cloud gives the image up', async () => {
    fake.on((received) => (isReadOfSnapshot(received) ? { status: 404, reply: { message: 'gone' } } : undefined));
    await expect(run('lab-002', { stop: true })).rejects.toMatchObject({ code: 'TOOL_FAILED', hint: expect.any(String) });
    expect([snapshots(), cloud.statusOf('lab-002')]).toEqual([[], 'ACTIVE']);
  });

  it('refuses an image without a hash, and removes it', async () => {
    cloud.world.options.hasDirectSnapshots = true;
    await expect(run('lab-002', { stop: true })).rejects.toMatchObject({ code: 'BASE_REFUSED', hint: expect.any(String) });
    expect([snapshots(), cloud.statusOf('lab-002')]).toEqual([[], 'ACTIVE']);
  });

  it.each(['os-stop', 'createImage', 'GET'])('starts the member again and leaves no image if it is interrupted after %s', async (when) => {
    const end = new AbortController();
    fake.on((received) => {
      const isNow = when === 'GET' ? isReadOfSnapshot(received) : isAction(when)(received);
      if (isNow) setTimeout(() => end.abort(), when === 'createImage' ? 0 : 5);
      return undefined;
    });
    // Long enough to be interrupted.
    Object.assign(cloud.world.times, { stop: 20_000, snapshot: 20_000 });
    await expect(run('lab-002', { stop: true, signal: end.signal })).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(cloud.server('lab-002')).toMatchObject({ vmState: 'active', taskState: null });
    expect(snapshots()).toEqual([]);
  });

  it('says that the guest did not stop in time, and still leaves it running', async () => {
    cloud.world.times.stop = 150_000;
    await expect(run('lab-002', { stop: true, timeoutMs: 60_000 })).rejects.toMatchObject({
      code: 'NOT_STOPPED',
      hint: expect.stringContaining('--timeout'),
    });
    expect(actions()).toEqual(['os-stop', 'os-start']);
    expect(cloud.statusOf('lab-002')).toBe('ACTIVE');
  });

  it('says that the member could not be started again', async () => {
    fake.fail(isAction('os-start'), { status: 403, reply: { forbidden: { message: 'not allowed' } } });
    const { notes } = await run('lab-002', { stop: true });
    expect(notes).toContain('lab-002 was not started again: Could not start server lab-002: not allowed');
    expect(actions().filter((verb) => verb === 'os-start')).toHaveLength(1);
  });

  it('seals after a lost reply, and leaves what a kill leaves to prune', async () => {
    fake.fail(({ method }) => method === 'PATCH', 'lost');
    expect(await run('lab-001')).toMatchObject({ how: 'flattened', problems: [] });
    const image = cloud.image('golden2');
    // Long enough that it belongs to no running command.
    await lab.clock.sleep(2 * 3_600_000);
    expect(await leftoverImages(context)).toEqual([]);
    // As after a kill before the seal.
    Object.assign(image, { tags: [], isProtected: false });
    image.properties['cowherd:state'] = 'creating';
    expect((await leftoverImages(context)).map(({ id }) => id)).toEqual([image.id]);
    await expect(findImage(context, 'golden2')).rejects.toMatchObject({ code: 'BASE_REFUSED' });
  });
});
