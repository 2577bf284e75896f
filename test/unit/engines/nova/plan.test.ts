import { describe, expect, it } from 'vitest';
import { memberIdentity } from '../../../../src/core/fleet/identity.js';
import { metadataOf, tagsOf } from '../../../../src/engines/nova/core/member-tags.js';
import { type NovaMember, observeServers } from '../../../../src/engines/nova/core/members.js';
import { planPower, planRebuild, planSpawn, planTeardown } from '../../../../src/engines/nova/core/plan.js';
import { type Server, serverSchema } from '../../../../src/engines/nova/core/servers.js';
import { rawServer } from '../../../fakes/openstack/open-fake.js';

const fleetId = '0b7f6c1e-58a4-4f0f-9d0e-2b9a6a1d7c11';

function server(index: number, fields: Record<string, unknown> = {}, id = `server-${index}`): Server {
  const mark = { fleet: 'lab', fleetId, index, digest: 'd'.repeat(64) };
  const own = { tags: tagsOf(mark), metadata: metadataOf(mark), image: { id: 'image-1' }, hostId: 'host', name: `lab-00${index}` };
  return serverSchema.parse(rawServer(id, { ...own, ...fields }));
}

function observe(servers: Server[], count = 1): ReturnType<typeof observeServers> {
  const members = Array.from({ length: count }, (_, position) => memberIdentity('lab', fleetId, position + 1, 0));
  return observeServers({ id: fleetId, members }, servers);
}

function steps(plan: ReturnType<typeof planSpawn>): string[][] {
  return plan.members.map((member) => member.steps);
}

const one = (fields: Record<string, unknown> = {}): NovaMember[] => observe([server(1, fields)]).members;

describe('servers of a fleet', () => {
  it('are found by the mark, not by their name', () => {
    const found = observe([server(1, { name: 'renamed by a user' })]);
    expect(found).toMatchObject({ members: [{ index: 1, server: { id: 'server-1' }, extra: [] }], orphans: [], foreign: [] });
  });

  it('of another fleet with the same name are foreign', () => {
    const mark = { fleet: 'lab', fleetId: 'another', index: 1, digest: '' };
    const other = server(1, { tags: tagsOf(mark), metadata: metadataOf(mark) });
    expect(observe([other])).toMatchObject({ members: [{ server: undefined }], foreign: [{ id: 'server-1' }] });
  });

  it('whose tags and metadata disagree are foreign', () => {
    const wrong = server(1, { metadata: { ...metadataOf({ fleet: 'lab', fleetId, index: 2, digest: '' }) } });
    expect(observe([wrong], 2)).toMatchObject({ members: [{ server: undefined }, { server: undefined }], foreign: [{ id: 'server-1' }] });
  });

  it('beyond the record are orphans, and the oldest of two for one member counts', () => {
    const later = server(1, { created: '2026-01-02T00:00:00Z' }, 'later');
    const found = observe([later, server(1), server(7)]);
    expect(found.members).toMatchObject([{ server: { id: 'server-1' }, extra: [{ id: 'later' }] }]);
    expect(found.orphans).toMatchObject([{ id: 'server-7' }]);
  });

  it.each([
    ['never got a host', { status: 'ERROR', hostId: '' }],
    ['is still being created', { status: 'BUILD', hostId: '' }],
    ['is being deleted', { 'OS-EXT-STS:task_state': 'deleting' }],
  ])('of two for one member, one that %s is surplus, although it is older', (_title, fields) => {
    const later = server(1, { created: '2026-01-02T00:00:00Z' }, 'later');
    const { members } = observe([server(1, fields), later]);
    expect(members).toMatchObject([{ server: { id: 'later' }, extra: [{ id: 'server-1' }] }]);
  });

  it('show the task as the reason of their state', () => {
    expect(one({ status: 'REBUILD', 'OS-EXT-STS:task_state': 'rebuild_spawning' })[0]?.domain).toMatchObject({
      state: 'other',
      reason: 'rebuild_spawning',
    });
  });
});

describe('the plan of spawn', () => {
  it('creates what is missing and starts what is stopped', () => {
    const { members } = observe([server(1), server(2, { status: 'SHUTOFF' })], 3);
    const plan = planSpawn(members, { start: true });
    expect([plan.unchanged, steps(plan)]).toEqual([['lab-001'], [['start'], ['create']]]);
  });

  it('starts nothing without --start, and stops what it creates', () => {
    const { members } = observe([server(1, { status: 'SHUTOFF' })], 2);
    const plan = planSpawn(members, { start: false });
    expect([plan.unchanged, steps(plan)]).toEqual([['lab-001'], [['create', 'shutdown']]]);
  });

  it.each([
    ['that got no host is replaced', { status: 'ERROR', hostId: '' }, ['delete', 'create']],
    ['that is being deleted is replaced', { 'OS-EXT-STS:task_state': 'deleting' }, ['delete', 'create']],
    ['that is being started is waited for', { status: 'SHUTOFF', 'OS-EXT-STS:task_state': 'powering-on' }, ['start']],
    ['that is being created is waited for', { status: 'BUILD', 'OS-EXT-STS:task_state': 'spawning' }, ['create']],
  ])('a server %s', (_title, fields, expected) => {
    expect(steps(planSpawn(one(fields), { start: true }))).toEqual([expected]);
  });

  it('a server in state ERROR that had a host is kept', () => {
    const plan = planSpawn(one({ status: 'ERROR', fault: { message: 'disk \u001b[31mfailed', code: 500 } }), { start: true });
    expect(plan.refused).toMatchObject([{ name: 'lab-001', reason: 'its server is in state ERROR: disk failed' }]);
    expect(plan.members).toEqual([]);
  });

  it('deletes servers that were created twice', () => {
    const { members } = observe([server(1), server(1, { created: '2026-01-02T00:00:00Z' }, 'later')]);
    expect(steps(planSpawn(members, { start: true }))).toEqual([['delete']]);
  });
});

describe('the plan of a reset', () => {
  const policy = { start: 'same' as const, wasOn: new Set([1]), why: 'reset' };

  it.each([
    ['running, to the same state', 'ACTIVE', policy, ['rebuild']],
    ['stopped, to the same state', 'SHUTOFF', { ...policy, wasOn: new Set<number>() }, ['rebuild']],
    ['stopped, then started', 'SHUTOFF', { ...policy, start: 'all' as const }, ['rebuild', 'start']],
    ['running, then stopped', 'ACTIVE', { ...policy, start: 'none' as const }, ['rebuild', 'shutdown']],
    ['stopped meanwhile by a killed run', 'SHUTOFF', policy, ['rebuild', 'start']],
    ['in state ERROR', 'ERROR', policy, ['rebuild']],
  ])('%s', (_title, status, chosen, expected) => {
    expect(steps(planRebuild(one({ status }), chosen))).toEqual([expected]);
  });

  it.each([
    ['to be started', { ...policy, start: 'all' as const }, ['rebuild', 'start']],
    ['to be stopped', { ...policy, start: 'none' as const }, ['rebuild', 'shutdown']],
  ])('whose rebuild a killed run has begun, %s: it may end in either state', (_title, chosen, expected) => {
    expect(steps(planRebuild(one({ status: 'REBUILD', 'OS-EXT-STS:task_state': 'rebuilding' }), chosen))).toEqual([expected]);
    expect(steps(planRebuild(one({ 'OS-EXT-STS:task_state': 'powering-off' }), chosen))).toEqual([expected]);
  });

  it.each([
    ['without a server', [], 'it has no server'],
    ['locked', [server(1, { locked: true })], 'its server is locked'],
    ['from a volume', [server(1, { image: '' })], 'its server boots from a volume, which a rebuild does not replace'],
    ['paused', [server(1, { status: 'PAUSED' })], 'its server is in state PAUSED'],
    ['being deleted', [server(1, { 'OS-EXT-STS:task_state': 'deleting' })], 'it has no server'],
  ])('refuses a member %s', (_title, servers, reason) => {
    const plan = planRebuild(observe(servers).members, policy);
    expect(plan).toMatchObject({ members: [], refused: [{ reason, hint: expect.stringMatching(/\w/) }] });
  });
});

it('start and stop leave members that are already in that state', () => {
  expect(planPower(one(), 'start').unchanged).toEqual(['lab-001']);
  expect(planPower(one({ status: 'SHUTOFF' }), 'stop').unchanged).toEqual(['lab-001']);
  expect(steps(planPower(one(), 'stop'))).toEqual([['shutdown']]);
  expect(planPower(one({ status: 'SHELVED_OFFLOADED' }), 'start').refused[0]?.hint).toContain('openstack server unshelve server-1');
});

it('a task that ends in the opposite state is waited for first', () => {
  const stopping = one({ 'OS-EXT-STS:task_state': 'powering-off' });
  expect(steps(planPower(stopping, 'start'))).toEqual([['shutdown', 'start']]);
  expect(steps(planSpawn(stopping, { start: true }))).toEqual([['shutdown', 'start']]);
  expect(planSpawn(stopping, { start: false }).unchanged).toEqual(['lab-001']);
  expect(steps(planPower(one({ status: 'SHUTOFF', 'OS-EXT-STS:task_state': 'powering-on' }), 'stop'))).toEqual([['start', 'shutdown']]);
});

it('a teardown also passes members without a server, and refuses a locked one', () => {
  const { members } = observe([server(1, { locked: true })], 2);
  expect(planTeardown(members)).toMatchObject({ members: [{ name: 'lab-002', steps: ['delete'] }], refused: [{ name: 'lab-001' }] });
});

it('start, stop and spawn refuse a locked member, but only if its server would change', () => {
  const [on, off] = [one({ locked: true }), one({ locked: true, status: 'SHUTOFF' })];
  const refused = [{ reason: 'its server is locked', hint: 'Unlock it first: openstack server unlock server-1' }];
  for (const plan of [planPower(on, 'stop'), planPower(off, 'start'), planSpawn(off, { start: true })])
    expect(plan).toMatchObject({ members: [], refused });
  for (const plan of [planPower(on, 'start'), planPower(off, 'stop'), planSpawn(on, { start: true }), planSpawn(off, { start: false })])
    expect(plan).toMatchObject({ unchanged: ['lab-001'], refused: [] });
});

it('a server that ran and has no host any more, because it was shelved, is not replaced', () => {
  const lost = { status: 'ERROR', hostId: '' };
  expect(steps(planSpawn(one(lost), { start: true }))).toEqual([['delete', 'create']]);
  const shelved = one({ ...lost, 'OS-SRV-USG:launched_at': '2026-01-01T00:00:05.000000' });
  expect(planSpawn(shelved, { start: true })).toMatchObject({ members: [], refused: [{ name: 'lab-001' }] });
});
