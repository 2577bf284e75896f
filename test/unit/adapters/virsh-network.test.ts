import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VirshNetworks } from '../../../src/adapters/libvirt/virsh-network.js';
import '../../fakes/hostile-agent/seed.js';
import { hostileText } from '../../fakes/hostile-agent/text.js';

const macs = ['52:54:00:00:00:01', '52:54:00:00:00:02'];

describe('a DHCP host name', () => {
  it('does not assign a lease to another machine', async () => {
    const row = fc.tuple(fc.constantFrom(...macs), hostileText, hostileText);
    const property = fc.asyncProperty(fc.array(row, { maxLength: 5 }), async (rows) => {
      // Source: libvirt, tools/virsh-network.c, cmdNetworkDHCPLeases; dnsmasq allows no space or control character in a host name.
      const lines = rows.map(([mac, name, client]) => {
        const [host, clientId] = [name, client].map((word) => word.replace(/[\s\p{Cc}]/gu, '') || '-');
        return ` 2026-01-01 00:00:00   ${mac}   ipv4       192.168.1.9/24   ${host}   ${clientId}`;
      });
      const networks = new VirshNetworks(async () => ({
        stdout: ` Expiry Time   MAC address   Protocol   IP address   Hostname   Client ID\n---\n${lines.join('\n')}\n`,
        error: '',
      }));
      const leases = await networks.leases('default');
      expect(leases.map(({ mac, ip }) => [mac, ip])).toEqual(rows.map(([mac]) => [mac, '192.168.1.9']));
    });
    await fc.assert(property, { numRuns: 300 });
  });
});
