import { forwardedPorts, forwardedPortsIn, planPorts, planReservations } from '../../../core/domain/network.js';
import { CowherdError } from '../../../core/errors.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { shellWord } from '../../../core/quoting.js';
import { parseNetwork } from '../../../core/spec/flag-values.js';
import type { Ports } from '../../../ports/index.js';
import type { Check } from '../../preflight/checks.js';

/** Allocates an address of a libvirt network, or a forwarded port of this host, to each member. */

type AddressPorts = Pick<Ports, 'networks' | 'hypervisor' | 'fleets' | 'machine'>;

export interface Allocation {
  record: FleetRecord;
  /** Whether the network has enough free addresses; undefined if none are needed. */
  check?: Check | undefined;
}

/** Allocates addresses or ports according to the spec. A member keeps what it has unless it was taken by another process. Nothing is reserved yet.
 * @param off names of stopped members: only their forwarded ports can be changed if in use by others
 * @param from number of free addresses of the network to skip first
 */
export async function allocateAddresses(
  ports: AddressPorts,
  record: FleetRecord,
  off: ReadonlySet<string>,
  from?: number,
): Promise<Allocation> {
  const { kind, source } = parseNetwork(record.spec.network);
  const bare = record.members.map(({ address: _address, sshPort: _port, ...member }): MemberIdentity => member);
  if (kind === 'network') return allocateReservations(ports, record, source, from);
  if (kind !== 'user' || !record.spec.forwardSsh) return { record: withMembers(record, bare) };

  const members: MemberIdentity[] = [];
  for (const { address: _, ...member } of record.members) {
    const lost = member.sshPort !== undefined && off.has(member.name) && !(await ports.machine.isPortFree(member.sshPort));
    members.push(lost ? { ...member, sshPort: undefined } : member);
  }
  const taken = await takenPorts(ports, record);
  // Exclude ports that turn out to be in use and plan again; a few rounds are enough on any real host.
  for (let round = 0; round < 100; round++) {
    const planned = planPorts(members, taken);
    if (planned === undefined) break;
    const busy = await Promise.all(
      members.map(async ({ name, sshPort }) => {
        const port = planned.get(name) ?? 0;
        return port !== sshPort && !(await ports.machine.isPortFree(port)) ? port : undefined;
      }),
    );
    const found = busy.filter((port) => port !== undefined);
    if (found.length === 0)
      return {
        record: withMembers(
          record,
          members.map((member) => ({ ...member, sshPort: planned.get(member.name) })),
        ),
      };
    for (const port of found) taken.add(port);
  }
  throw new CowherdError(
    'PREFLIGHT_FAILED',
    `Ports ${forwardedPorts.first}-${forwardedPorts.last} of 127.0.0.1 are all in use; nothing was changed`,
    {
      hint: 'Remove fleets that you do not need, or spawn without --forward-ssh.',
    },
  );
}

function withMembers(record: FleetRecord, members: readonly MemberIdentity[]): FleetRecord {
  // Omit undefined fields, as in the file.
  const clean = members.map(({ address, sshPort, ...member }) => ({
    ...member,
    ...(address === undefined ? {} : { address }),
    ...(sshPort === undefined ? {} : { sshPort }),
  }));
  return { ...record, members: clean };
}

/** Ports that other fleets of this store or other domains of this connection forward, running or stopped. */
async function takenPorts({ fleets, hypervisor }: AddressPorts, record: FleetRecord): Promise<Set<number>> {
  const taken = new Set(await portsOfOtherFleets(fleets, record.name));
  const own = new Set(record.members.map((member) => member.name));
  const others = (await hypervisor.listDomains()).filter(({ name }) => !own.has(name));
  for (const xml of (await hypervisor.readXml(others.map(({ uuid }) => uuid))).values())
    for (const port of forwardedPortsIn(xml)) taken.add(port);
  return taken;
}

async function portsOfOtherFleets(fleets: Ports['fleets'], except: string): Promise<number[]> {
  const found: number[] = [];
  for (const fleet of (await fleets.list()).filter((name) => name !== except)) {
    // Skip unreadable fleets: other commands report them.
    const records = await Promise.all([
      fleets.read(fleet).catch(() => undefined),
      fleets.unfinished(fleet).then(
        (unfinished) => unfinished?.operation.record,
        () => undefined,
      ),
    ]);
    for (const record of records) for (const { sshPort } of record?.members ?? []) if (sshPort !== undefined) found.push(sshPort);
  }
  return found;
}

/** Called under the lock on base images, since two runs may have chosen the same ports. @throws LOCKED */
export async function assertPortsStillFree({ fleets }: Pick<Ports, 'fleets'>, record: FleetRecord): Promise<void> {
  const mine = new Set(record.members.flatMap(({ sshPort }) => (sshPort === undefined ? [] : [sshPort])));
  if (mine.size === 0) return;
  const taken = (await portsOfOtherFleets(fleets, record.name)).find((port) => mine.has(port));
  if (taken !== undefined) {
    throw new CowherdError('LOCKED', `Another run took port ${taken} for its own fleet meanwhile; nothing was changed`, {
      hint: 'Run the same command again.',
    });
  }
}

async function allocateReservations({ networks }: AddressPorts, record: FleetRecord, network: string, from = 0): Promise<Allocation> {
  const unreserved = withMembers(
    record,
    record.members.map(({ address: _a, sshPort: _p, ...member }) => member),
  );
  const { active } = await networks.state(network);
  // The network check reports that.
  if (!active) return { record: unreserved };
  const sides = await networks.sides(network);
  const live = sides.get('live') ?? (await networks.definition(network));
  // Claims of other runs appear in the persistent definition first. If both definitions have an entry, the running network's counts.
  const definition = { ...live, hosts: [...(sides.get('config')?.hosts ?? []), ...live.hosts] };
  if (definition.ranges.length === 0) {
    return {
      record: unreserved,
      check: {
        name: 'addresses',
        status: 'warning',
        message: `network ${network} has no DHCP range, so members get no address from it`,
        hint: 'Add a <dhcp> range to the network, or set addresses with --network-config.',
      },
    };
  }
  const { addresses, free, conflicts } = planReservations(definition, await networks.leases(network), record.members, from);
  const [conflict] = conflicts;
  if (conflict !== undefined) {
    return {
      record: unreserved,
      check: {
        name: 'addresses',
        status: 'failed',
        message: `network ${network} has an entry for another machine named ${conflict.name}`,
        hint: `If nothing uses it: virsh net-update ${shellWord(network)} delete ip-dhcp-host '<host name="${conflict.name}" ip="${conflict.ip}"/>' --live --config`,
      },
    };
  }
  const reserved = withMembers(
    record,
    record.members.map(({ sshPort: _, ...member }) => ({ ...member, address: addresses.get(member.name) })),
  );
  const missing = record.members.length - addresses.size;
  const ranges = definition.ranges.map(({ start, end }) => `${start}-${end}`).join(', ');
  return missing === 0
    ? {
        record: reserved,
        check: { name: 'addresses', status: 'ok', message: `${record.members.length} of network ${network} (${ranges})` },
      }
    : {
        record: unreserved,
        check: {
          name: 'addresses',
          status: 'failed',
          message: `network ${network} (${ranges}) has ${free} free addresses; ${free + missing} are needed`,
          hint: `Widen its range (virsh net-edit ${shellWord(network)}, then net-destroy and net-start), or use fewer members. Leases of removed machines count until they expire (virsh net-dhcp-leases ${shellWord(network)}); with dnsmasq-utils installed, teardown releases them.`,
        },
      };
}
