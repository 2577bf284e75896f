import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  forwardedPortsIn,
  type Lease,
  parseLeases,
  parseNetworkXml,
  planPorts,
  planReservations,
} from '../../../../src/core/domain/network.js';
import { type MemberIdentity, memberIdentity } from '../../../../src/core/fleet/identity.js';

const id = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';
const members = (count: number): MemberIdentity[] => Array.from({ length: count }, (_, at) => memberIdentity('lab', id, at + 1));
const mac = (member: MemberIdentity | undefined): string => member?.macs[0] ?? '';
const network = (hosts: Array<{ mac: string; name: string; ip: string }> = [], end = '10.0.0.14') => ({
  name: 'n',
  bridge: '',
  ranges: [{ start: '10.0.0.10', end }],
  hosts,
});
const lease = (macAddress: string, ip: string): Lease => ({ mac: macAddress as Lease['mac'], ip: ip as Lease['ip'], expires: '' });

describe('reservations', () => {
  it('follow the index, from the start of the range', () => {
    const { addresses, free } = planReservations(network(), [], members(3));
    expect([...addresses]).toEqual([
      ['lab-001', '10.0.0.10'],
      ['lab-002', '10.0.0.11'],
      ['lab-003', '10.0.0.12'],
    ]);
    expect(free).toBe(5);
  });

  it('do not change, and do not affect others', () => {
    const [first, second, third] = members(3);
    const hosts = [
      { mac: mac(second), name: 'lab-002', ip: '10.0.0.10' },
      { mac: '52:54:00:ff:ff:ff', name: 'printer', ip: '10.0.0.11' },
    ];
    const recorded = [first, second, { ...third, address: '10.0.0.14' }] as MemberIdentity[];
    const { addresses } = planReservations(network(hosts), [lease('52:54:00:ee:ee:ee', '10.0.0.12')], recorded);
    expect(Object.fromEntries(addresses)).toEqual({ 'lab-001': '10.0.0.13', 'lab-002': '10.0.0.10', 'lab-003': '10.0.0.14' });
  });

  it('of another network are not kept', () => {
    const [first, second] = members(2);
    const moved = [{ ...first, address: '192.168.5.7' }, second] as MemberIdentity[];
    expect([...planReservations(network(), [], moved).addresses.values()]).toEqual(['10.0.0.11', '10.0.0.10'].reverse());
  });

  it('start elsewhere for a run that collided with another, and still fill the range', () => {
    const hosts = [{ mac: '52:54:00:ff:ff:ff', name: 'printer', ip: '10.0.0.11' }];
    const { addresses, free } = planReservations(network(hosts), [], members(3), 6);
    expect([...addresses.values()]).toEqual(['10.0.0.13', '10.0.0.14', '10.0.0.10']);
    expect(free).toBe(4);
  });

  it('report how many are missing, and the conflicting entries', () => {
    const { addresses, free, conflicts } = planReservations(
      network([{ mac: 'aa:bb:cc:dd:ee:ff', name: 'lab-002', ip: '10.0.0.10' }]),
      [],
      members(6),
    );
    expect([addresses.size, free]).toEqual([4, 4]);
    expect(conflicts.map((host) => host.name)).toEqual(['lab-002']);
  });

  it('never assign an address twice, or one in use by others', () => {
    const ip = fc.integer({ min: 8, max: 40 }).map((last) => `10.0.0.${last}`);
    const others = fc.array(fc.record({ mac: fc.constantFrom('aa:aa:aa:aa:aa:01', 'aa:aa:aa:aa:aa:02'), name: fc.constant('x'), ip }), {
      maxLength: 5,
    });
    const recorded = fc.array(fc.option(ip, { nil: undefined }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(others, recorded, fc.array(ip, { maxLength: 5 }), (hosts, known, leased) => {
        const mine = members(known.length).map((member, at) => ({ ...member, address: known[at] }));
        const leases = leased.map((address) => lease('bb:bb:bb:bb:bb:bb', address));
        const { addresses } = planReservations(network(hosts, '10.0.0.30'), leases, mine);
        const given = [...addresses.values()];
        expect(new Set(given).size).toBe(given.length);
        for (const taken of [...hosts.map((host) => host.ip), ...leased]) expect(given).not.toContain(taken);
      }),
    );
  });

  it('iterate a mistyped range up to a /16 only', () => {
    const { free } = planReservations({ ...network(), ranges: [{ start: '10.0.0.1', end: '200.0.0.1' }] }, [], members(1));
    expect(free).toBe(65_536);
  });
});

describe('network XML of libvirt', () => {
  it('is parsed, with one entry and with several', () => {
    const xml = `<network connections='1'><name>default</name><ip family='ipv6' address='fd00::1'><dhcp><range start='fd00::2' end='fd00::9'/></dhcp></ip>
      <ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' end='192.168.122.254'><lease expiry='60'/></range>
      <host mac='52:54:00:AA:00:01' name='a' ip='192.168.122.9'/></dhcp></ip></network>`;
    expect(parseNetworkXml(xml)).toEqual({
      name: 'default',
      dhcpIndex: 1,
      bridge: '',
      ranges: [{ start: '192.168.122.2', end: '192.168.122.254' }],
      hosts: [{ mac: '52:54:00:aa:00:01', name: 'a', ip: '192.168.122.9' }],
    });
    expect(parseNetworkXml("<network><name>b</name><bridge name='br0'/></network>")).toEqual({
      name: 'b',
      bridge: 'br0',
      ranges: [],
      hosts: [],
    });
  });

  it('includes its leases', () => {
    const table = ` Expiry Time           MAC address         Protocol   IP address           Hostname   Client ID or DUID
-----------------------------------------------------------------------
 2026-11-22 23:59:59   52:54:00:aa:00:01   ipv4       192.168.122.9/24     a          01:52:54:00:aa:00:01
 2026-11-22 23:59:59   52:54:00:aa:00:02   ipv6       fd00::5/64           -          -`;
    expect(parseLeases(table)).toEqual([{ expires: '2026-11-22 23:59:59', mac: '52:54:00:aa:00:01', ip: '192.168.122.9' }]);
  });
});

describe('forwarded ports', () => {
  it('do not change, and are never assigned twice', () => {
    const [first, second, third] = members(3);
    const recorded = [first, { ...second, sshPort: 22_000 }, { ...third, sshPort: 22_002 }] as MemberIdentity[];
    expect(Object.fromEntries(planPorts(recorded, new Set([22_001, 22_002])) ?? [])).toEqual({
      'lab-001': 22_003,
      'lab-002': 22_000,
      'lab-003': 22_004,
    });
    expect(planPorts(members(10_001), new Set())).toBeUndefined();
  });

  it('are found in the XML of domains', () => {
    expect(forwardedPortsIn("<qemu:arg value='user,id=x,hostfwd=tcp:127.0.0.1:22007-:22'/> hostfwd=tcp::80-:80")).toEqual([22_007, 80]);
  });
});
