import { describe, expect, it } from 'vitest';
import { memberIdentity } from '../../../src/core/fleet/identity.js';
import type { FleetRecord } from '../../../src/core/fleet/record.js';
import { defaultDomainSpec } from '../../../src/core/spec/spec.js';
import type { Ports } from '../../../src/ports/index.js';
import { Endpoints } from '../../../src/services/guest/endpoints.js';
import { observeAddresses } from '../../../src/services/guest/observe-addresses.js';
import { agentOf, patientClock } from '../../fakes/hostile-agent/ports.js';

/** Only addresses of the guest's own network cards count: docker0 has the same address in every guest, and often on this host. */
describe('an address that a guest agent reports', () => {
  const id = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';
  const member = memberIdentity('lab', id, 1, 2);
  const spec = { ...defaultDomainSpec, network: 'bridge=br0' };
  const record = { version: 1, id, name: 'lab', spec, members: [member] } as unknown as FleetRecord;
  const card = (name: string, mac: string, ...addresses: string[]) => ({
    name,
    'hardware-address': mac,
    'ip-addresses': addresses.map((address) => ({
      'ip-address-type': address.includes(':') ? 'ipv6' : 'ipv4',
      'ip-address': address,
      prefix: 24,
    })),
  });
  const [own, second] = member.macs as [string, string];
  const docker = card('docker0', '02:42:ac:11:00:01', '172.17.0.1');
  const loopback = card('lo', '00:00:00:00:00:00', '127.0.0.1', '::1');

  const portsOf = (...interfaces: object[]): Ports =>
    ({
      agent: agentOf(() => JSON.stringify({ return: interfaces })),
      clock: patientClock,
      networks: { hostAddresses: () => new Set(['192.168.7.1', '172.17.0.1']) },
    }) as unknown as Ports;
  const domain = { name: member.name, uuid: member.uuid, state: 'running', reason: 'booted' } as const;
  const told = async (...interfaces: object[]) => {
    const ports = portsOf(...interfaces);
    const endpoints = new Endpoints(ports, record);
    const shown = await observeAddresses(ports, record, [{ ...member, domain, overlayBytes: 0 }]);
    return [await endpoints.agentAddress(member), (await endpoints.host(member))?.host, shown.get(member.name)];
  };

  it.each([
    ['docker0 alone', [loopback, docker]],
    ['docker0 beside a card without an address', [loopback, docker, card('eth0', own)]],
    ['a bridge with an address that only this host has', [card('virbr0', '52:54:00:00:00:99', '192.168.122.1')]],
    ['a card that claims an address of this host', [card('eth0', own, '192.168.7.1')]],
    ['a card with IPv6 alone', [card('eth0', own, 'fe80::1')]],
    ['nothing', []],
  ])('is ignored if the guest has %s', async (_, interfaces) => {
    expect(await told(...interfaces)).toEqual([undefined, undefined, undefined]);
    await expect(new Endpoints(portsOf(...interfaces), record).ssh(member)).rejects.toMatchObject({
      code: 'GUEST_UNREACHABLE',
      hint: expect.any(String),
    });
  });

  it.each([
    ['first', [loopback, docker, card('eth0', own.toUpperCase(), '10.0.0.7')]],
    ['second', [docker, card('eth0', own), card('eth1', second, '10.0.0.7')]],
  ])('is that of its %s card, whatever comes before it', async (_, interfaces) => {
    expect(await told(...interfaces)).toEqual(['10.0.0.7', '10.0.0.7', '10.0.0.7']);
  });
});
