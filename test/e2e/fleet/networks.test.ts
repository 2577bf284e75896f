import { readdir } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { domains, Lab, virsh } from '../../support/lab.js';
import { inLong } from '../../support/long.js';
import { TestNetwork } from '../../support/network.js';

/** Networks of real hosts: shared with other runs, with IPv6, or missing. */
describe('a network', () => {
  let labs: [Lab, Lab];
  let golden: string;
  const networks: TestNetwork[] = [];
  beforeAll(async () => {
    labs = [await Lab.open(), await Lab.open()];
    golden = await labs[0].golden('golden.qcow2');
  });
  afterAll(async () => {
    for (const lab of labs) await lab.close();
    for (const network of networks) await network.close();
  });

  const open = async (name: string, ...range: Parameters<typeof TestNetwork.open> extends [string, ...infer R] ? R : never) => {
    const network = await TestNetwork.open(`${labs[0].id}${name}`, ...range);
    networks.push(network);
    return network;
  };
  const on = (network: string, count: number) => ['--base', golden, '--count', String(count), '--memory', '16MiB', '--network', network];
  const addresses = ({ members }: { members: Array<{ address: string }> }) => members.map(({ address }) => address);

  it.each([['that libvirt keeps', 4] as const, ...inLong([['that is gone when it is stopped', 2] as const])])(
    '%s serves %d spawns at once, of two stores',
    async (_, spawns) => {
      const isPersistent = spawns === 4;
      // Just enough addresses for these: the slower run has to search.
      const network = await open(isPersistent ? 'p' : 't', 10, 9 + 2 * spawns, { isPersistent });
      const fleets = Array.from({ length: spawns }, (_, number) => number).map((number) => ({
        lab: labs[number % 2] as Lab,
        fleet: labs[0].fleet(`at-once${number}`),
      }));
      const runs = await Promise.all(
        fleets.map(({ lab, fleet }) => lab.cowherd('spawn', fleet, ...on(`network=${network.name}`, 2), '--no-start', '--json')),
      );
      expect(runs.map(({ exitCode, json }) => [exitCode, json.error?.message])).toEqual(fleets.map(() => [0, undefined]));
      const given = runs.flatMap(({ json }) => addresses(json));
      expect(new Set(given).size).toBe(2 * spawns);
      const names = runs.flatMap(({ json }) => json.members.map(({ name }: { name: string }) => name)).sort();
      expect((await network.hosts()).sort()).toEqual(names);
      if (isPersistent) expect((await network.hosts('--inactive')).sort()).toEqual(names);

      // A full network is refused, and nothing is left behind.
      const late = await labs[1].cowherd('spawn', labs[1].fleet('late'), ...on(`network=${network.name}`, 1), '--json');
      expect([late.exitCode, late.json.error.message]).toEqual([3, expect.stringContaining('has 0 free addresses; 1 are needed')]);

      for (const { lab, fleet } of fleets) {
        expect(addresses(await lab.ok('status', fleet))).toEqual(addresses(runs[fleets.findIndex((entry) => entry.fleet === fleet)]?.json));
        await lab.ok('teardown', fleet, '--yes');
      }
      expect(await network.hosts()).toEqual([]);
      if (isPersistent) expect(await network.hosts('--inactive')).toEqual([]);
      for (const lab of labs) expect(await readdir(lab.path('fleets'))).toEqual([]);
    },
  );

  it('with DHCP for IPv6 before IPv4 gives addresses, and removes incomplete entries', async () => {
    const number = Number.parseInt(labs[0].id.slice(0, 4), 16).toString(16);
    const before = `<ip family='ipv6' address='fd43:${number}::1' prefix='64'><dhcp><range start='fd43:${number}::10' end='fd43:${number}::20'/></dhcp></ip>`;
    const network = await open('v6', 10, 17, { isPersistent: true, before });
    const [lab] = labs;
    const fleet = lab.fleet('v6');
    const { members } = await lab.ok('spawn', fleet, ...on(`network=${network.name}`, 2));
    expect(addresses({ members })).toEqual([network.address(10), network.address(11)]);
    expect(await network.hosts()).toHaveLength(2);

    // An entry that is missing in one definition is restored; an outdated address is removed.
    const [first] = members;
    const entry = (address: string) => `<host mac='${first.mac}' name='${first.name}' ip='${address}'/>`;
    const update = (verb: string, address: string, side: string) =>
      virsh('net-update', network.name, verb, 'ip-dhcp-host', entry(address), side, '--parent-index', '1');
    await update('delete', network.address(10), '--config');
    await update('add', network.address(15), '--config');
    await lab.ok('spawn', fleet);
    expect(await virsh('net-dumpxml', network.name, '--inactive')).toContain(network.address(10));
    expect(await network.hosts('--inactive')).toHaveLength(2);
    await update('delete', network.address(10), '--live');
    await lab.ok('teardown', fleet, '--yes');
    expect([await network.hosts(), await network.hosts('--inactive')]).toEqual([[], []]);
  });

  it('of a missing bridge is refused before anything is created, with the command to create it', async () => {
    const [lab] = labs;
    const fleet = lab.fleet('bridge');
    const bridge = `cwtb${lab.id}`;
    const { exitCode, json } = await lab.answer('spawn', fleet, ...on(`bridge=${bridge}`, 1));
    expect([exitCode, json.error.message]).toEqual([3, `bridge ${bridge} not found on this host; nothing was changed`]);
    expect([(await domains()).filter((name) => name.startsWith(fleet)), (await lab.answer('status', fleet)).exitCode]).toEqual([[], 5]);
    const command = /create it: (.*)$/.exec(json.error.hint)?.[1] ?? '';
    try {
      await execa('bash', ['-c', command.replaceAll('sudo ', '')]);
      expect((await lab.ok('spawn', fleet, ...on(`bridge=${bridge}`, 1))).counts).toMatchObject({ created: 1, started: 1 });
      await lab.ok('teardown', fleet, '--yes');
    } finally {
      await execa('ip', ['link', 'delete', bridge], { reject: false });
    }
  });
});
