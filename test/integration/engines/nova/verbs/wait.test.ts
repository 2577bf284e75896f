import { afterEach, beforeEach, expect, it } from 'vitest';
import type { FleetRecord } from '../../../../../src/core/fleet/record.js';
import { parseWaitFor, parseWaitRequest } from '../../../../../src/core/guest/stages.js';
import type { NovaContext } from '../../../../../src/engines/nova/context.js';
import { assertNovaWaitable, waitForMembers } from '../../../../../src/engines/nova/verbs/wait.js';
import type { FakeCloud, Received } from '../../../../fakes/openstack/fake-cloud.js';
import { QuickClock } from '../../../../fakes/openstack/open-fake.js';
import type { StatefulCloud } from '../../../../fakes/openstack/stateful/stateful-cloud.js';
import type { CloudServer, Guest } from '../../../../fakes/openstack/stateful/world.js';
import { NovaLab } from '../../../../support/openstack/nova-lab.js';
import { addMember, fleetId, recordOf } from '../../../../support/openstack/recorded-fleet.js';

const digest = 'd'.repeat(64);
const isConsole = ({ request }: Received): boolean => typeof request === 'object' && request !== null && 'os-getConsoleOutput' in request;

let lab: NovaLab;
let cloud: StatefulCloud;
let fake: FakeCloud;
let context: NovaContext;
let record: FleetRecord;

async function open(clock?: QuickClock): Promise<void> {
  lab = await NovaLab.openEmpty(clock);
  ({ cloud } = lab);
  ({ fake } = cloud);
  context = await lab.context();
}

beforeEach(() => open());
afterEach(async () => {
  expect(fake.unknown).toEqual([]);
  await lab.close();
});

/** In place of the clock on which pauses add up, one on which they overlap. */
async function reopenWithQuickClock(): Promise<void> {
  await lab.close();
  await open(new QuickClock());
}

const address = (text: string): Partial<CloudServer> => ({
  addresses: [{ network: 'private', address: text, mac: 'fa:16:3e:00:00:01' }],
});
/** What a guest has written to its console since its boot. */
const wrote = (banner: string): { guest: Guest } => ({ guest: { banner, ready: undefined, bootMs: 0 } });

/** Members that are running, without addresses and without output. */
function fleet(count: number, fields: (index: number) => Partial<CloudServer> = () => ({})): CloudServer[] {
  record = recordOf('lab', count, { digest, image: 'base' });
  return record.members.map(({ index }) => addMember(cloud, { fleet: 'lab', fleetId, index, digest }, { ...wrote(''), ...fields(index) }));
}

/** @returns stage and reason of the members that are late */
async function wait(text: string, timeoutMs = 60_000, work: object = {}): Promise<Record<string, string>> {
  const late = await waitForMembers(context, record, { wait: parseWaitFor(text), members: record.members, timeoutMs, work });
  return Object.fromEntries(
    [...late].map(([name, { stage, error }]) => [name, `${stage}: ${[error.message, ...error.details].join('; ')}`]),
  );
}

it('is done when all are active without a task, with one list per second for all', async () => {
  await reopenWithQuickClock();
  for (const server of fleet(20, () => ({ vmState: 'building', taskState: 'spawning' }))) {
    cloud.later(server, 4_000, { vmState: 'active' });
    cloud.later(server, 8_000, { taskState: null });
  }
  const began = lab.clock.monotonic();
  expect(await wait('running', 600_000)).toEqual({});
  const seconds = (lab.clock.monotonic() - began) / 1000;
  expect(seconds).toBeGreaterThan(7);
  const lists = fake.count('GET', /servers\/detail/);
  expect(lists).toBeGreaterThanOrEqual(3);
  expect(lists).toBeLessThanOrEqual(seconds + 1);
});

it('matches consoles, and quotes them safely', async () => {
  const consoles = ['boot\r\nlab-001 login: ', '\u001b[2J\u0000panic\u202e', ''];
  fleet(3, (index) => wrote(consoles[index - 1] ?? ''));
  expect(await wait('console=login: $')).toEqual({
    'lab-002': expect.stringMatching(
      /^console: lab-002 did not reach stage console .* does not match .*; last line of its console: \\x00panic\\u202e$/,
    ),
    'lab-003': expect.stringContaining('its console is empty'),
  });
});

it('reads a console at most every two seconds, a few at a time', async () => {
  await reopenWithQuickClock();
  fleet(10);
  fake.delayMs = 5;
  const began = lab.clock.monotonic();
  expect(Object.keys(await wait('console=never', 20_000))).toHaveLength(10);
  const seconds = (lab.clock.monotonic() - began) / 1000;
  const looks = fake.received.filter(isConsole).length / 10;
  expect(looks).toBeGreaterThan(2);
  expect(looks).toBeLessThanOrEqual(seconds / 2 + 1);
  // The client allows eight; one of these is the list.
  expect(fake.mostInFlight).toBeLessThanOrEqual(5);
});

it('does not match the log of an earlier boot', async () => {
  // While Nova rebuilds a server or starts it, its log is still that of before; then it begins anew.
  const [rebuilt, started] = fleet(2, () => wrote('READY first boot'));
  Object.assign(rebuilt ?? {}, { taskState: 'rebuild_spawning' });
  Object.assign(started ?? {}, { vmState: 'stopped', taskState: 'powering-on' });
  expect([cloud.statusOf('lab-001'), cloud.statusOf('lab-002')]).toEqual(['REBUILD', 'SHUTOFF']);
  for (const server of cloud.servers) cloud.later(server, 10_000, { vmState: 'active', taskState: null, ...wrote('booting') });
  expect(await wait('console=READY')).toEqual({
    'lab-001': expect.stringContaining('last line of its console: booting'),
    'lab-002': expect.stringContaining('last line of its console: booting'),
  });
  // It was not even read before.
  const first = fake.received.findIndex(isConsole);
  expect(fake.received.slice(0, first).filter(({ path }) => path.includes('/servers/detail')).length).toBeGreaterThanOrEqual(4);
});

it('needs usable addresses, and sshd', async () => {
  fleet(4, (index) => (index === 4 ? {} : address(index === 3 ? '127.0.0.1' : `10.0.0.${index}`)));
  lab.ssh.answering.add('10.0.0.1').add('127.0.0.1');
  expect(await wait('address')).toEqual({
    'lab-003': expect.stringContaining('none of its addresses can be that of a guest (127.0.0.1)'),
    'lab-004': expect.stringContaining('the cloud has given it no address'),
  });
  const late = await wait('ssh');
  expect(late['lab-002']).toMatch(/^ssh: .*no answer from sshd at 10\.0\.0\.2 port 22/);
  expect(Object.keys(late).sort()).toEqual(['lab-002', 'lab-003', 'lab-004']);
});

it('ends at once for servers in state ERROR, and says if one is stopped or missing', async () => {
  const fault = { message: 'No valid host\u001b[31m was found', created: 0 };
  fleet(3, (index) => (index === 1 ? { vmState: 'error', fault } : { vmState: 'stopped' }));
  cloud.removeServer('lab-003');
  const late = await wait('ssh');
  expect(late).toEqual({
    'lab-001': expect.stringContaining('state ERROR: No valid host was found'),
    'lab-002': expect.stringContaining('it is stopped (SHUTOFF)'),
    'lab-003': expect.stringContaining('it has no server'),
  });
});

it.each([{ status: 500 }, { status: 503 }, 'lost', 'cut'] as const)('goes on after lists and consoles that fail with %j', async (kind) => {
  fleet(2, () => wrote('READY'));
  fake.fail(({ path }) => path.includes('/servers/'), kind, 12);
  expect(await wait('console=READY', 600_000)).toEqual({});
});

it('ends in time if the cloud does not answer any more', async () => {
  fleet(2);
  fake.fail(isConsole, 'silence', 100);
  const began = Date.now();
  expect(Object.keys(await wait('console=READY', 300))).toEqual(['lab-001', 'lab-002']);
  // The time for the last lines is limited, too.
  expect(Date.now() - began).toBeLessThan(10_000);
}, 15_000);

it('stops when it is interrupted', async () => {
  fleet(2);
  const end = new AbortController();
  setTimeout(() => end.abort(), 50);
  expect(await wait('console=never', 24 * 3_600_000, { signal: end.signal })).toEqual({});
});

it.each(['agent', 'cloud-init', 'auto'])('refuses to wait for %s', (stage) => {
  expect(() => assertNovaWaitable(parseWaitRequest(stage))).toThrow(
    expect.objectContaining({ code: 'NOT_SUPPORTED', hint: expect.stringContaining('--wait ssh') }),
  );
  expect(() => assertNovaWaitable(parseWaitFor('ssh,console=x'))).not.toThrow();
});
