import { XMLParser } from 'fast-xml-parser';
import { CowherdError } from '../errors.js';
import type { MemberIdentity } from '../fleet/identity.js';
import { type Ipv4Address, type MacAddress, parseIpv4, parseMac } from '../guest/values.js';

/** libvirt networks: their DHCP range, and the addresses of members. IPv4 only. */

export interface HostEntry {
  mac: string;
  name: string;
  ip: string;
}

export interface NetworkDefinition {
  name: string;
  /** Its interface on this host; empty if unknown. */
  bridge: string;
  ranges: Array<{ start: string; end: string }>;
  hosts: HostEntry[];
  /** Index of the <ip> element with the ranges and hosts, from 0: libvirt needs it if several have DHCP. */
  dhcpIndex?: number;
}

/** The live definition of a network, and the persistent one for its next start. */
export type NetworkSide = 'live' | 'config';

/** Another machine got the address or an entry of the same name meanwhile. */
export class AddressTaken extends CowherdError {
  constructor(network: string, { ip, name }: HostEntry) {
    super('LOCKED', `Another run took ${ip}, or an entry named ${name}, on network ${network} meanwhile`, {
      hint: 'Run the same command again.',
    });
  }
}

export interface Lease {
  mac: MacAddress;
  ip: Ipv4Address;
  /** Expiry time as libvirt prints it: a later one shows that the lease was renewed. */
  expires: string;
}

type Node = Record<string, unknown>;
const listed = new Set(['ip', 'range', 'host']);
const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  parseTagValue: false,
  parseAttributeValue: false,
  isArray: (name) => listed.has(name),
});

export function parseNetworkXml(xml: string): NetworkDefinition {
  const network = ((parser.parse(xml) as Node).network ?? {}) as Node;
  const all = (network.ip ?? []) as Node[];
  const withDhcp = all.filter((ip) => typeof ip === 'object' && (ip['@family'] ?? 'ipv4') === 'ipv4' && typeof ip.dhcp === 'object');
  const dhcp = withDhcp.map((ip) => ip.dhcp as Node);
  const dhcpIndex = all.indexOf(withDhcp[0] ?? {});
  const word = (node: Node, key: string): string => String(node[`@${key}`] ?? '');
  return {
    name: typeof network.name === 'string' ? network.name : '',
    bridge: word((network.bridge ?? {}) as Node, 'name'),
    ranges: dhcp.flatMap(({ range }) => ((range ?? []) as Node[]).map((node) => ({ start: word(node, 'start'), end: word(node, 'end') }))),
    hosts: dhcp.flatMap(({ host }) =>
      ((host ?? []) as Node[]).map((node) => ({ mac: word(node, 'mac').toLowerCase(), name: word(node, 'name'), ip: word(node, 'ip') })),
    ),
    ...(dhcpIndex < 0 ? {} : { dhcpIndex }),
  };
}

/** Parses the table of `virsh net-dhcp-leases`. Ignores host names and client ids, which are set by guests. */
export function parseLeases(text: string): Lease[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\s+([0-9a-f:]{17})\s+ipv4\s+([0-9.]+)\/\d+/i.exec(line);
    const [mac, ip] = [parseMac(match?.[2]), parseIpv4(match?.[3])];
    return mac === undefined || ip === undefined ? [] : [{ expires: match?.[1] ?? '', mac, ip }];
  });
}

export interface Reservations {
  /** The addresses by member name, without members for which none was left. */
  addresses: Map<string, string>;
  /** How many addresses are free for members without one. */
  free: number;
  /** Conflicting host entries, which have a member's name. */
  conflicts: HostEntry[];
}

/**
 * Assigns each member an address of the network's range, by index: its current one, else the next free one. Addresses with
 * a lease of another machine are not assigned: dnsmasq would refuse them.
 * @param members members keep an existing address
 * @param from how many addresses to skip at first, so that concurrent runs choose different ones
 */
export function planReservations(
  network: NetworkDefinition,
  leases: readonly Lease[],
  members: readonly MemberIdentity[],
  from = 0,
): Reservations {
  const macs = new Set(members.map((member) => member.macs[0] ?? ''));
  const names = new Set(members.map((member) => member.name));
  const foreignHosts = network.hosts.filter((host) => !macs.has(host.mac));
  const taken = new Set([
    ...foreignHosts.map((host) => host.ip),
    ...leases.filter((lease) => !macs.has(lease.mac)).map((lease) => lease.ip),
  ]);
  const reserved = new Map(network.hosts.map((host) => [host.mac, host.ip]));
  const addresses = new Map<string, string>();
  const without: MemberIdentity[] = [];
  for (const member of members) {
    const address = reserved.get(member.macs[0] ?? '') ?? member.address;
    // An address of another network or a former range would not work.
    if (address === undefined || taken.has(address) || !isIn(network.ranges, address)) without.push(member);
    else {
      addresses.set(member.name, address);
      taken.add(address);
    }
  }
  const available = [...addressesOf(network.ranges)].map(formatIpv4).filter((address) => !taken.has(address));
  const free = available.length;
  without.slice(0, free).forEach((member, position) => {
    addresses.set(member.name, available[(from + position) % free] ?? '');
  });
  return { addresses, free, conflicts: foreignHosts.filter((host) => names.has(host.name)) };
}

function isIn(ranges: NetworkDefinition['ranges'], address: string): boolean {
  const number = ipv4Number(address);
  if (number === undefined) return false;
  return ranges.some(({ start, end }) => number >= (ipv4Number(start) ?? Number.POSITIVE_INFINITY) && number <= (ipv4Number(end) ?? -1));
}

/** At most a /16 of each range, so that a mistyped range is not iterated. */
function* addressesOf(ranges: NetworkDefinition['ranges']): Generator<number> {
  for (const { start, end } of ranges) {
    const [first, last] = [ipv4Number(start), ipv4Number(end)];
    if (first === undefined || last === undefined) continue;
    for (let number = first; number <= Math.min(last, first + 65_535); number++) yield number;
  }
}

function ipv4Number(text: string): number | undefined {
  if (parseIpv4(text) === undefined) return undefined;
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function formatIpv4(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}

/** Range of forwarded ports: below the usual ephemeral ports, above those of services. */
export const forwardedPorts = { first: 22_000, last: 31_999 };

/**
 * Assigns each member a port, by index: its current one, else the next free one.
 * @param taken ports in use by others
 * @returns undefined if there are not enough
 */
export function planPorts(members: readonly MemberIdentity[], taken: ReadonlySet<number>): Map<string, number> | undefined {
  const ports = new Map<string, number>();
  const used = new Set(taken);
  for (const { name, sshPort } of members) {
    if (sshPort === undefined || used.has(sshPort)) continue;
    ports.set(name, sshPort);
    used.add(sshPort);
  }
  let port = forwardedPorts.first;
  for (const { name } of members) {
    if (ports.has(name)) continue;
    while (used.has(port)) port++;
    if (port > forwardedPorts.last) return undefined;
    ports.set(name, port);
    used.add(port);
  }
  return ports;
}

/** Ports of this host that a domain forwards. */
export function forwardedPortsIn(xml: string): number[] {
  return [...xml.matchAll(/hostfwd=tcp:[0-9.]*:(\d{1,5})-/g)].map((match) => Number(match[1]));
}
