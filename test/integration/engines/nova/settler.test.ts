import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Settler, type SettlerOptions } from '../../../../src/engines/nova/api/settler.js';
import type { Task, Verdict } from '../../../../src/engines/nova/core/settling.js';
import { FakeCloud } from '../../../fakes/openstack/fake-cloud.js';
import { basics, FastClock, openFake, rawServer } from '../../../fakes/openstack/open-fake.js';

type Fields = Record<string, unknown>;

let fake: FakeCloud;
/** What each list shows, the last one from then on; and what a request for one server shows. */
let lists: Fields[][];
let single: Map<string, Fields>;

beforeEach(async () => {
  fake = await FakeCloud.start();
  basics(fake);
  single = new Map();
  fake.on(({ path }) => {
    if (path.startsWith('/v2.1/servers/detail')) return { status: 200, reply: { servers: lists.length > 1 ? lists.shift() : lists[0] } };
    if (!path.startsWith('/v2.1/servers/')) return undefined;
    const server = single.get(path.split('/')[3] ?? '');
    return server === undefined ? { status: 404 } : { status: 200, reply: { server } };
  });
});
afterEach(() => fake.stop());

async function wait(
  tasks: Array<[string, Task]>,
  clock = new FastClock(),
  options: Partial<SettlerOptions> = {},
): Promise<Array<[string, Verdict]>> {
  const { servers } = await openFake(fake, { clock });
  const settler = new Settler(servers, clock, { tag: 't', ...options });
  return Promise.all(tasks.map(async ([id, task]): Promise<[string, Verdict]> => [id, await settler.settle(id, task)]));
}

const build = (task: string): Fields => ({ status: 'BUILD', 'OS-EXT-STS:task_state': task });

it('many servers are waited for with one list', async () => {
  const ids = Array.from({ length: 100 }, (_, at) => `s${at}`);
  lists = [ids.map((id) => rawServer(id, build('spawning'))), ids.map((id) => rawServer(id))];
  expect(await wait(ids.map((id) => [id, { kind: 'create' }]))).toEqual(ids.map((id) => [id, { state: 'settled' }]));
  expect(fake.received.filter(({ path }) => path.includes('/servers'))).toHaveLength(2);
});

it('a failed server has the fault that only a request for it shows, and does not hide the others', async () => {
  lists = [[rawServer('a', { status: 'ERROR' }), rawServer('b')]];
  single.set('a', rawServer('a', { status: 'ERROR', fault: { code: 500, message: 'No valid host was found.' } }));
  expect(
    await wait([
      ['a', { kind: 'create' }],
      ['b', { kind: 'create' }],
    ]),
  ).toEqual([
    ['a', { state: 'failed', reason: 'No valid host was found.' }],
    ['b', { state: 'settled' }],
  ]);
});

it('a server that a list leaves out is asked for before it counts as gone', async () => {
  lists = [[], [rawServer('a')]];
  single.set('a', { id: 'a', status: 'UNKNOWN', created: '2026' });
  expect(await wait([['a', { kind: 'start' }]])).toEqual([['a', { state: 'settled' }]]);
  expect(
    await wait([
      ['gone', { kind: 'delete' }],
      ['lost', { kind: 'rebuild', imageId: 'i', endsIn: 'ACTIVE' }],
    ]),
  ).toMatchObject([
    ['gone', { state: 'settled' }],
    ['lost', { state: 'failed' }],
  ]);
});

it('a delete that hangs is stuck after five minutes', async () => {
  lists = [[rawServer('a', { 'OS-EXT-STS:task_state': 'deleting' })]];
  const clock = new FastClock();
  expect(await wait([['a', { kind: 'delete' }]], clock)).toMatchObject([['a', { state: 'stuck' }]]);
  // On a busy machine, some seconds of the five minutes are real.
  expect(clock.slept).toBeGreaterThanOrEqual(280_000);
});

it('a server that cannot be read does not hide the others', async () => {
  lists = [[rawServer('b', build('spawning'))], [rawServer('b')]];
  fake.fail(({ path }) => path === '/v2.1/servers/a', { status: 403, reply: { forbidden: { code: 403, message: 'no' } } }, 1_000);
  const { servers } = await openFake(fake);
  const settler = new Settler(servers, new FastClock(), { tag: 't' });
  const [a, b] = await Promise.allSettled([settler.settle('a', { kind: 'create' }), settler.settle('b', { kind: 'create' })]);
  expect([a.status, b]).toEqual(['rejected', { status: 'fulfilled', value: { state: 'settled' } }]);
});

describe('after an interruption', () => {
  const aborted = AbortSignal.abort();

  it('tasks may still end', async () => {
    lists = [[rawServer('a', build('spawning'))], [rawServer('a', build('spawning'))], [rawServer('a')]];
    expect(await wait([['a', { kind: 'create' }]], new FastClock(), { signal: aborted })).toEqual([['a', { state: 'settled' }]]);
  });

  it('those that take longer are left to the cloud', async () => {
    lists = [[rawServer('a', build('spawning'))]];
    const clock = new FastClock();
    await expect(wait([['a', { kind: 'create' }]], clock, { signal: aborted })).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(clock.slept).toBeGreaterThan(25_000);
    expect(clock.slept).toBeLessThan(40_000);
  });

  it('without patience, the wait ends at once', async () => {
    lists = [[rawServer('a', build('spawning'))]];
    const clock = new FastClock();
    const end = new AbortController();
    clock.sleep = async () => end.abort();
    const work = wait([['a', { kind: 'create' }]], clock, { signal: end.signal, patienceMs: 0 });
    await expect(work).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });
});
