import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FaultKind, Received } from '../../../fakes/openstack/fake-cloud.js';
import { fleet, NovaLab, running } from '../../../support/openstack/nova-lab.js';

/** What can go wrong on the way to a cloud while a command runs. */

let lab: NovaLab;
beforeEach(async () => {
  lab = await NovaLab.open();
});
afterEach(async () => {
  expect(lab.cloud.fake.unknown).toEqual([]);
  await lab.close();
});

const isCreate = ({ method, path }: Received): boolean => method === 'POST' && path === '/v2.1/servers';
const isAction =
  (verb: string) =>
  ({ path, request }: Received): boolean =>
    path.endsWith('/action') && verb in (request as object);
const isDelete = ({ service, method }: Received): boolean => service === 'compute' && method === 'DELETE';
const isList = ({ path }: Received): boolean => path.startsWith('/v2.1/servers/detail');

const busy = { status: 503, headers: { 'retry-after': '3' }, reply: 'Service Unavailable' };
const failures: Array<[string, FaultKind]> = [
  ['a lost reply', 'lost'],
  ['a connection that is refused', 'refused'],
  ['a reply that breaks off', 'cut'],
  ['status 500', { status: 500, reply: { computeFault: { code: 500, message: 'Unexpected API Error.' } } }],
  ['status 503', busy],
  ['status 429', { status: 429, headers: { 'retry-after': '2' }, reply: { overLimit: { code: 429, message: 'Too many requests.' } } }],
];

describe.each(failures)('%s', (_name, kind) => {
  it('of any request: commands end as they do without it', async () => {
    const every = (nth: number): ((request: Received) => boolean) => {
      let count = 0;
      return () => ++count % nth === 0;
    };
    lab.cloud.fake.fail(every(4), kind, 1_000);
    expect((await lab.spawn(3)).counts).toMatchObject({ created: 3, failed: 0 });
    expect(lab.states).toEqual(running(3));
    const engine = await lab.engine();
    for (const { name } of lab.members) lab.cloud.writeFile(name, 'notes');
    const ids = lab.members.map(({ id }) => id);
    expect((await engine.reset({ fleet })).counts).toMatchObject({ reset: 3, failed: 0 });
    expect(lab.members.map(({ id, files }) => [id, files.size])).toEqual(ids.map((id) => [id, 0]));
    expect((await engine.stop({ fleet })).counts).toMatchObject({ stopped: 3, failed: 0 });
    expect((await engine.start({ fleet })).counts).toMatchObject({ started: 3, failed: 0 });
    expect((await engine.teardown({ fleet })).counts).toMatchObject({ removed: 3, failed: 0 });
    expect(lab.cloud.servers).toEqual([]);
  });

  it.each([
    ['creating a server', isCreate],
    ['a list', isList],
  ])('of %s, each time at first: no server exists twice', async (_what, matches) => {
    lab.cloud.fake.fail(matches, kind, 3);
    expect((await lab.spawn(3)).counts).toMatchObject({ created: 3, failed: 0 });
    expect(lab.states).toEqual(running(3));
    expect(new Set(lab.members.flatMap(({ tags }) => tags.filter((tag) => tag.startsWith('cowherd:member='))))).toHaveProperty('size', 3);
  });

  it.each([
    ['rebuild', 'reset'],
    ['os-stop', 'stop'],
    ['os-start', 'start'],
  ] as const)('of %s: the command completes', async (action, verb) => {
    await lab.spawn(2);
    const engine = await lab.engine();
    if (verb === 'start') await engine.stop({ fleet });
    lab.cloud.fake.fail(isAction(action), kind, 2);
    const { counts, members } = await engine[verb]({ fleet });
    expect([counts.failed, members.length]).toEqual([0, 2]);
    lab.cloud.settle();
    expect(lab.states.map(([, state]) => state)).toEqual(verb === 'stop' ? ['stopped', 'stopped'] : ['active', 'active']);
  });

  it('of saving a disk: there is one image, and the member runs again', async () => {
    await lab.spawn(1);
    lab.cloud.writeFile(`${fleet}-001`, 'notes');
    lab.cloud.fake.fail(isAction('createImage'), kind, 1);
    await (await lab.engine()).promote({ member: [fleet, '1'], as: 'promoted', stop: true });
    lab.cloud.settle();
    expect(lab.cloud.images.map(({ name, isProtected, files }) => [name, isProtected, files.size])).toEqual([
      ['golden', false, 0],
      ['promoted', true, 1],
    ]);
    expect(lab.states).toEqual(running(1));
  });

  it('of a deletion: the teardown completes', async () => {
    await lab.spawn(2);
    lab.cloud.fake.fail(isDelete, kind, 2);
    expect((await (await lab.engine()).teardown({ fleet })).counts).toMatchObject({ removed: 2, failed: 0 });
    expect(lab.cloud.servers).toEqual([]);
  });
});

it.each([
  ['a list', isList],
  ['creating a server', isCreate],
  ['the login', ({ service }: Received) => service === 'identity'],
])('a cloud that never replies to %s is asked again after a minute', async (_what, matches) => {
  const minute = (): boolean => setImmediate(() => vi.advanceTimersByTime(60_000)) !== undefined;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    lab.cloud.fake.fail((request) => matches(request) && minute(), 'silence');
    expect((await lab.spawn(2, { concurrency: 1 })).counts).toMatchObject({ created: 2, failed: 0 });
  } finally {
    vi.useRealTimers();
  }
  expect(lab.states).toEqual(running(2));
});

it('a cloud that says when to come back is asked then', async () => {
  lab.cloud.fake.fail(isList, { status: 429, headers: { 'retry-after': '17' } });
  await lab.spawn(1);
  expect(lab.clock.pauses.filter((ms) => ms >= 17_000 && ms < 30_000)).toHaveLength(1);
});

it('tokens that expire midway are renewed', async () => {
  let count = 0;
  lab.cloud.fake.on((request) => {
    if (isCreate(request) && ++count === 2) lab.cloud.fake.expireTokens();
    return undefined;
  });
  expect((await lab.spawn(4)).counts).toMatchObject({ created: 4, failed: 0 });
  expect(lab.states).toEqual(running(4));
});

describe('a list whose pages change between the requests', () => {
  beforeEach(async () => {
    await lab.close();
    lab = await NovaLab.open({ pageSize: 2 });
    await lab.spawn(5);
  });

  const names = async (): Promise<string[]> =>
    (await (await lab.engine()).status(fleet)).members.map(({ name, state }) => `${name} ${state}`);
  const all = Array.from({ length: 5 }, (_, index) => `${fleet}-00${index + 1} running`);

  it('names every member once if somebody else creates servers', async () => {
    let count = 0;
    lab.cloud.fake.on((request) => {
      if (isList(request) && count++ < 4) lab.cloud.addServer({ name: `other-${count}`, tags: lab.members[0]?.tags.slice(0, 2) ?? [] });
      return undefined;
    });
    expect(await names()).toEqual(all);
    expect(count).toBeGreaterThan(2);
  });

  it('begins again if the server at the end of a page is deleted', async () => {
    const last = lab.cloud.addServer({ name: 'other', tags: lab.members[0]?.tags.slice(0, 2) ?? [] });
    lab.cloud.addServer({ name: 'newest', tags: last.tags });
    lab.cloud.fake.on((request) => {
      if (isList(request) && request.path.includes(`marker=${last.id}`)) lab.cloud.world.servers.delete(last.id);
      return undefined;
    });
    expect(await names()).toEqual(all);
    expect(lab.cloud.world.servers.has(last.id)).toBe(false);
  });
});

it('servers of somebody else with the names of members, or without the right metadata, are never touched', async () => {
  const named = lab.cloud.addServer({ name: `${fleet}-001` });
  await lab.spawn(2);
  const [first] = lab.members;
  const copied = lab.cloud.addServer({ name: 'copied', tags: [...(first?.tags ?? [])], metadata: { 'cowherd:fleet': fleet } });
  const before = structuredClone([named, copied]);
  const engine = await lab.engine();
  await engine.reset({ fleet });
  await engine.stop({ fleet });
  await lab.spawn(3);
  await engine.teardown({ fleet });
  expect(lab.cloud.servers).toEqual(before);
});
