import { forwardedPorts, forwardedPortsIn, planPorts, planReservations } from '../../../core/domain/network.js';
import { CowherdError } from '../../../core/errors.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { parseNetwork } from '../../../core/spec/spec.js';
import type { Ports } from '../../../ports/index.js';
import type { Check } from '../../preflight/checks.js';

/** Which address or port each member is to have: of a libvirt network, or forwarded ports of this host. */

type AddressPorts = Pick<Ports, 'networks' | 'hypervisor' | 'fleets' | 'machine'>;

export interface Allocation {
  record: FleetRecord;
  /** Whether the network has room; undefined where that is no question. */
  check?: Check | undefined;
}

/**
 * Gives every member its address or port, as the spec asks; what a member has stays, unless somebody else has taken it. Nothing
 * is reserved yet.
 * @param off names of members that are off: a forwarded port in use by others can be changed for these
 * @param from how many free addresses of the network to pass over at first
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
  // A port that looked free and is not is taken out, and the rest planned again; a handful of rounds covers any real host.
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
      hint: 'Tear down what is not needed, or spawn without --forward-ssh.',
    },
  );
}

function withMembers(record: FleetRecord, members: readonly MemberIdentity[]): FleetRecord {
  // Left out where undefined, as in the file.
  const clean = members.map(({ address, sshPort, ...member }) => ({
    ...member,
    ...(address === undefined ? {} : { address }),
    ...(sshPort === undefined ? {} : { sshPort }),
  }));
  return { ...record, members: clean };
}

/** Ports that other fleets of this store or other domains of this connection forward, running or not. */
async function takenPorts({ fleets, hypervisor }: AddressPorts, record: FleetRecord): Promise<Set<number>> {
  const taken = new Set(await portsOfOtherFleets(fleets, record.name));
  const own = new Set(record.members.map((member) => member.name));
  const names = (await hypervisor.listDomains()).map((domain) => domain.name).filter((name) => !own.has(name));
  for (const xml of (await hypervisor.readXml(names)).values()) for (const port of forwardedPortsIn(xml)) taken.add(port);
  return taken;
}

async function portsOfOtherFleets(fleets: Ports['fleets'], except: string): Promise<number[]> {
  const found: number[] = [];
  for (const fleet of (await fleets.list()).filter((name) => name !== except)) {
    // A fleet that cannot be read is another command's problem.
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

/** Asked while nobody else can bind a fleet: two runs may have chosen the same ports. @throws LOCKED */
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
  // That is another check's to tell.
  if (!active) return { record: unreserved };
  const sides = await networks.sides(network);
  const live = sides.get('live') ?? (await networks.definition(network));
  // What other runs have claimed is in the kept definition first. An address that both have for a member is that of the running network.
  const definition = { ...live, hosts: [...(sides.get('config')?.hosts ?? []), ...live.hosts] };
  if (definition.ranges.length === 0) {
    return {
      record: unreserved,
      check: {
        name: 'addresses',
        status: 'warning',
        message: `network ${network} has no DHCP range: its members get no address from it`,
        hint: 'Give the network a <dhcp> range, or the members addresses by --network-config.',
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
        hint: `If nothing uses it: virsh net-update ${network} delete ip-dhcp-host '<host name="${conflict.name}" ip="${conflict.ip}"/>' --live --config`,
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
          message: `network ${network} (${ranges}) has ${free} free addresses, and ${free + missing} are needed`,
          hint: `Widen its range (virsh net-edit ${network}, then net-destroy and net-start), or make the fleet smaller. Leases of machines that are gone count until they expire (virsh net-dhcp-leases ${network}); with dnsmasq-utils installed, teardown releases them.`,
        },
      };
}
