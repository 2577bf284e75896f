import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fleetLayout } from '../../../../../src/adapters/store/layout.js';
import type { NovaContext } from '../../../../../src/engines/nova/context.js';
import { guestCommands, novaGuests } from '../../../../../src/engines/nova/verbs/guests.js';
import { logs } from '../../../../../src/engines/nova/verbs/logs.js';
import type { LogsResult } from '../../../../../src/services/guest/logs.js';
import type { FakeCloud } from '../../../../fakes/openstack/fake-cloud.js';
import type { Address, CloudServer, Guest } from '../../../../fakes/openstack/stateful/world.js';
import { labHostAddress } from '../../../../support/openstack/lab-engine.js';
import { NovaLab } from '../../../../support/openstack/nova-lab.js';
import { addMember, fleetId, recordOf } from '../../../../support/openstack/recorded-fleet.js';

const digest = 'd'.repeat(64);
const at = (kind: 'fixed' | 'floating', address: string, network = 'private'): Address => ({
  ...{ kind, address, network, mac: 'fa:16:3e:00:00:01' },
});
const fixed = (address: string, network?: string): Address => at('fixed', address, network);
const floating = (address: string): Address => at('floating', address);

let lab: NovaLab;
let fake: FakeCloud;
let context: NovaContext;

beforeEach(async () => {
  lab = await NovaLab.openEmpty();
  ({ fake } = lab.cloud);
  context = await lab.context();
  await context.ports.fleets.write(recordOf('lab', 4, { digest, image: 'base' }));
});
afterEach(async () => {
  expect(fake.unknown).toEqual([]);
  await lab.close();
});

/** What a guest has written to its console. */
const wrote = (banner: string): { guest: Guest } => ({ guest: { banner, ready: undefined, bootMs: 0 } });
/** The server of a member: running, without addresses and without output. */
const member = (index: number, fields: Partial<CloudServer> = {}): CloudServer =>
  addMember(lab.cloud, { fleet: 'lab', fleetId, index, digest }, { id: `s${index}`, ...wrote(''), ...fields });

describe('the guests of a fleet', () => {
  it('run while their server is active and is not being stopped', async () => {
    member(1);
    member(2, { taskState: 'powering-off' });
    member(3, { taskState: 'image_uploading' });
    member(4, { vmState: 'stopped' });
    const { running, record } = await novaGuests(context)('lab');
    expect([...running]).toEqual(['lab-001', 'lab-003']);
    expect(record.name).toBe('lab');
    await expect(novaGuests(context)('none')).rejects.toMatchObject({ code: 'FLEET_NOT_FOUND' });
  });

  it('are reached at a floating address, otherwise at the first usable fixed one', async () => {
    await context.ports.seeds.writeSshFiles(
      'lab',
      'a private key',
      new Map([1, 2].map((index) => [`lab-00${index}`, `host key ${index}`])),
    );
    member(1, { addresses: [fixed('10.0.0.7'), floating('203.0.113.5')] });
    member(2, { addresses: [fixed('fd00::7'), fixed('10.0.0.8'), fixed('10.1.0.8', 'second')] });
    // Hostile: ssh would run commands on this host.
    const hostile = ['127.0.0.1', labHostAddress, '169.254.169.254', '0.0.0.0', '-oProxyCommand=x'];
    member(3, { addresses: hostile.map((address) => fixed(address)) });
    const [outcome] = await guestCommands(context).exec({ targets: [{ fleet: 'lab', members: [] }], command: ['true'] });
    const seen = outcome?.members.map(({ via, stdout, error }) => error?.message ?? [via, JSON.parse(stdout)]);
    const { clientKey: identityFile, knownHosts: knownHostsFile } = fleetLayout(lab.root, 'lab');
    const endpoint = { port: 22, user: 'debian', identityFile, knownHostsFile, isPinned: true, argv: ['true'] };
    expect(seen).toEqual([
      ['ssh', { member: 'lab-001', host: '203.0.113.5', ...endpoint }],
      ['ssh', { member: 'lab-002', host: '10.0.0.8', ...endpoint }],
      expect.stringContaining('none of its addresses can be that of a guest (127.0.0.1, 192.0.2.1,'),
      'lab-004 is not running',
    ]);
    expect(fake.count('GET', /servers\/detail/)).toBe(1);
  });

  it('say why there is no address', async () => {
    member(1, { addresses: [fixed('fd00::7')] });
    member(2);
    const { endpoints, record } = await novaGuests(context)('lab');
    const why = (index: number): Promise<unknown> =>
      endpoints.ssh(record.members[index - 1] as (typeof record.members)[number]).catch(({ code, message }) => `${code} ${message}`);
    expect(await why(1)).toMatch(/^GUEST_UNREACHABLE .*IPv6 addresses only \(fd00::7\)/);
    expect(await why(2)).toMatch(/^GUEST_UNREACHABLE .*the cloud has given it no address/);
    expect(await why(3)).toMatch(/^GUEST_UNREACHABLE .*it has no server/);
  });

  it('are in the inventory', async () => {
    member(1, { addresses: [fixed('10.0.0.7')] });
    member(2, { vmState: 'stopped', addresses: [fixed('10.0.0.8')] });
    const { members } = await guestCommands(context).inventory('lab', ['1-2']);
    expect(members).toMatchObject([
      {
        ...{ name: 'lab-001', state: 'on', host: '10.0.0.7', port: 22, user: 'debian' },
        sshConfig: expect.arrayContaining(['HostName 10.0.0.7', 'Port 22', 'User debian', 'HostKeyAlias lab-001']),
      },
      { name: 'lab-002', state: 'off', host: null },
    ]);
  });

  it('have no agent', async () => {
    member(1, { addresses: [fixed('10.0.0.7')] });
    const [outcome] = await guestCommands(context).exec({ targets: [{ fleet: 'lab', members: ['1'] }], command: ['true'], via: 'agent' });
    expect(outcome?.members[0]?.error?.code).toBe('GUEST_UNREACHABLE');
  });
});

describe('logs', () => {
  const read = async (more: object = {}): Promise<{ results: LogsResult[]; texts: Record<string, string>; ends: string[] }> => {
    const texts: Record<string, string> = {};
    const ends: string[] = [];
    const results = await logs(context, {
      targets: [{ fleet: 'lab', members: [] }],
      onText: (name, text) => Object.assign(texts, { [name]: (texts[name] ?? '') + text }),
      onEnd: (name) => ends.push(name),
      ...more,
    });
    return { results, texts, ends };
  };

  it('are those of all members in their order, as the guests wrote them', async () => {
    const hostile = 'boot\u001b]0;title\u0007\u0000\u202e é\n';
    member(2, wrote('two\n'));
    member(1, wrote(hostile));
    member(3);
    const { results, texts, ends } = await read({ tail: 20 });
    expect(texts).toEqual({ 'lab-001': hostile, 'lab-002': 'two\n' });
    expect(ends).toEqual(['lab-001', 'lab-002', 'lab-003', 'lab-004']);
    expect(results).toEqual([
      { member: 'lab-001', bytes: Buffer.byteLength(hostile), truncated: false },
      { member: 'lab-002', bytes: 4, truncated: false },
      ...['lab-003', 'lab-004'].map((name) => ({ member: name, bytes: 0, truncated: false })),
    ]);
    const asked = fake.received.flatMap(
      ({ request }) => (request as { 'os-getConsoleOutput'?: { length: number } })?.['os-getConsoleOutput'] ?? [],
    );
    expect(asked).toEqual(Array(3).fill({ length: 20 }));
  });

  it('are limited', async () => {
    member(1, wrote(`é${'x'.repeat(17 * 1024 * 1024)}`));
    const { results, texts } = await read();
    expect(results[0]).toEqual({ member: 'lab-001', bytes: 16 * 1024 * 1024, truncated: true });
    expect(texts['lab-001']).toHaveLength(16 * 1024 * 1024);
    await expect(read({ tail: 0 })).rejects.toMatchObject({ code: 'BAD_USAGE' });
  });

  it('fail if the cloud does, and are empty without a log', async () => {
    member(1);
    member(2);
    fake.fail(({ path }) => path.includes('/s1/action'), { status: 404, reply: { itemNotFound: { message: 'no console' } } });
    expect((await read()).texts).toEqual({});
    // The first one takes longer than the failure of the second one.
    fake.fail(({ path }) => path.includes('/s1/action'), { status: 503 }, 3);
    fake.fail(({ path }) => path.includes('/s2/action'), { status: 400, reply: { badRequest: { message: 'not supported' } } });
    await expect(read()).rejects.toMatchObject({ hint: expect.any(String) });
  });
});
