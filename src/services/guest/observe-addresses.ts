import { isOn, type ObservedMember } from '../../core/fleet/observation.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { parseNetwork } from '../../core/spec/flag-values.js';
import type { Ports } from '../../ports/index.js';
import { Endpoints } from './endpoints.js';

/** Time limit for the addresses of all agents together, in milliseconds: a listing must not hang. */
const agentsMs = 2_000;

/** The address of each member on its network, by name: reported by its agent, otherwise leased or reserved. Empty for user networking, where every guest has the same address.
 */
export async function observeAddresses(
  ports: Ports,
  record: FleetRecord,
  observed: readonly ObservedMember[],
): Promise<Map<string, string>> {
  const { kind } = parseNetwork(record.spec.network);
  const addresses = new Map<string, string>();
  if (kind === 'none' || kind === 'user') return addresses;
  const endpoints = new Endpoints(ports, record);
  for (const member of record.members) {
    const known = member.address ?? (await endpoints.lease(member).catch(() => undefined))?.ip;
    if (known !== undefined) addresses.set(member.name, known);
  }
  let isOver = false;
  const asked = observed
    .filter(({ domain }) => isOn(domain))
    .map(async (member) => {
      const address = await endpoints.agentAddress(member).catch(() => undefined);
      if (address !== undefined && !isOver) addresses.set(member.name, address);
    });
  const enough = new AbortController();
  await Promise.race([Promise.all(asked), ports.clock.sleep(agentsMs, enough.signal)]);
  isOver = true;
  enough.abort();
  return addresses;
}

/** Members that share an address: their problems in words, by name. */
export function sharedAddresses(addresses: ReadonlyMap<string, string>): Map<string, string[]> {
  const owners = new Map<string, string[]>();
  for (const [name, address] of addresses) owners.set(address, [...(owners.get(address) ?? []), name]);
  const problems = new Map<string, string[]>();
  for (const [address, names] of owners) {
    if (names.length < 2) continue;
    for (const name of names) {
      const others = names.filter((other) => other !== name);
      problems.set(name, [`has the same address ${address} as ${others.slice(0, 3).join(', ')}`]);
    }
  }
  return problems;
}
