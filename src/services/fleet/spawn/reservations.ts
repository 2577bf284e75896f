import type { HostEntry, NetworkDefinition, NetworkSide } from '../../../core/domain/network.js';
import { CowherdError } from '../../../core/errors.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { parseNetwork } from '../../../core/spec/flag-values.js';
import type { Ports } from '../../../ports/index.js';
import { isAborted, type Performer } from '../../run/member-executor.js';

/** Static DHCP entries of a fleet on a libvirt network. libvirt takes one entry per call; for a running network it also rebuilds all firewall rules, with one iptables process each: 0.2 to 0.7 s. An entry in the persistent definition takes 10 ms. So all addresses are claimed there first. The entries of the running network follow while members are created and started; each member waits for its own entry.
 */

type NetworkPorts = Pick<Ports, 'networks'>;

/** Entries being written to the running network. */
export interface Reserving {
  /** Resolves when the member's entry is written, or at once if it needs none. */
  of(name: string): Promise<void>;
  /** Stops writing; resolves when the current entry is written. */
  stop(): Promise<void>;
  /** Resolves when all entries are written. @param told members whose failure was reported by {@link of} */
  all(told?: ReadonlySet<string>): Promise<void>;
}

/** Claims the addresses of all members and starts to write them to the running network. @throws AddressTaken if another run took one; the claims made so far stay
 */
export async function reserveAddresses({ networks }: NetworkPorts, record: FleetRecord, signal?: AbortSignal): Promise<Reserving> {
  const { kind, source } = parseNetwork(record.spec.network);
  const wanted = kind === 'network' ? record.members.flatMap(entryOf) : [];
  if (wanted.length === 0) return new LiveQueue([], async () => undefined, signal);
  const sides = await networks.sides(source);
  const write = async (side: NetworkSide, host: HostEntry): Promise<void> => {
    for (const stale of staleEntries(sides.get(side), host)) await networks.removeHost(source, side, stale);
    await networks.addHost(source, side, host);
  };
  const lacking = (side: NetworkSide): HostEntry[] => {
    const present = new Map(sides.get(side)?.hosts.map((host) => [host.mac, host]));
    return sides.has(side) ? wanted.filter(({ mac, ip }) => present.get(mac)?.ip !== ip) : [];
  };
  for (const host of lacking('config')) await write('config', host);
  const live = lacking('live');
  const queue = new LiveQueue(live, (host) => write('live', host), signal);
  // Without a persistent definition, other runs see the claims only in the running network.
  if (!sides.has('config')) await queue.all();
  return queue;
}

function staleEntries(side: NetworkDefinition | undefined, { mac, ip }: HostEntry): HostEntry[] {
  return side?.hosts.filter((host) => host.mac === mac && host.ip !== ip) ?? [];
}

/** Releases the members' reservations, unless the network no longer exists. */
export async function releaseAddresses({ networks }: NetworkPorts, record: FleetRecord, members: readonly MemberIdentity[]): Promise<void> {
  const { kind, source } = parseNetwork(record.spec.network);
  if (kind !== 'network' || members.length === 0 || !(await networks.state(source)).exists) return;
  const macs = new Set(members.flatMap((member) => member.macs));
  const sides = await networks.sides(source);
  await removeEntries(networks, source, sides, macs);
  const bridge = sides.get('live')?.bridge ?? '';
  if (bridge === '') return;
  const leases = await networks.leases(source).catch(() => []);
  await networks.releaseLeases(
    bridge,
    leases.filter((lease) => macs.has(lease.mac)),
  );
}

/** Releases addresses while other members are still being removed. {@link releaseAddresses} repeats failures and reports them. */
export class Releasing {
  readonly #ports: NetworkPorts;
  readonly #record: FleetRecord;
  readonly #isAsked: boolean;
  #last: Promise<void> = Promise.resolve();
  #sides: Promise<Map<NetworkSide, NetworkDefinition>> | undefined;

  constructor(ports: NetworkPorts, record: FleetRecord) {
    this.#ports = ports;
    this.#record = record;
    this.#isAsked = parseNetwork(record.spec.network).kind === 'network';
  }

  /** Releases the address of a removed domain, without waiting. */
  begin({ name }: MemberIdentity): void {
    const member = this.#record.members.find((candidate) => candidate.name === name);
    if (!this.#isAsked || member === undefined) return;
    this.#last = this.#last.then(() => this.#release(member)).catch(() => undefined);
  }

  async #release({ macs }: MemberIdentity): Promise<void> {
    const { networks } = this.#ports;
    const { source } = parseNetwork(this.#record.spec.network);
    this.#sides ??= networks.state(source).then(({ exists }) => (exists ? networks.sides(source) : new Map()));
    await removeEntries(networks, source, await this.#sides, new Set(macs));
  }

  idle(): Promise<void> {
    return this.#last;
  }
}

/** Removes the running network's entry first: the claim keeps other runs from taking the address before that. */
async function removeEntries(
  networks: Ports['networks'],
  source: string,
  sides: ReadonlyMap<NetworkSide, NetworkDefinition>,
  macs: ReadonlySet<string>,
): Promise<void> {
  for (const side of ['live', 'config'] as const)
    for (const host of sides.get(side)?.hosts ?? []) if (macs.has(host.mac)) await networks.removeHost(source, side, host);
}

/** Makes members wait for their entry before they start and before they count as done. */
export function withReservations<M extends MemberIdentity>(performer: Performer<M>, reserving: Reserving): Performer<M> {
  return {
    step: async (step, member) => {
      if (step === 'start' || step === 'restore') await reserving.of(member.name);
      await performer.step(step, member);
    },
    finish: async (member) => {
      await reserving.of(member.name);
      await performer.finish(member);
    },
  };
}

class LiveQueue implements Reserving {
  readonly #entries = new Map<string, Promise<void>>();
  #last: Promise<void> = Promise.resolve();
  #isStopped = false;

  /** Writes one entry at a time: libvirt serializes them anyway. */
  constructor(hosts: readonly HostEntry[], write: (host: HostEntry) => Promise<void>, signal: AbortSignal | undefined) {
    for (const host of hosts) {
      const written = this.#last.then(async () => {
        if (this.#isStopped || isAborted(signal)) throw new CowherdError('INTERRUPTED', `Interrupted before ${host.ip} was reserved`);
        await write(host);
      });
      this.#entries.set(host.name, written);
      // A failure affects only its member; the other entries are still written.
      this.#last = written.catch(() => undefined);
    }
  }

  of(name: string): Promise<void> {
    return this.#entries.get(name) ?? Promise.resolve();
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    return this.#last;
  }

  async all(told: ReadonlySet<string> = new Set()): Promise<void> {
    await this.#last;
    for (const [name, written] of this.#entries) if (!told.has(name)) await written;
  }
}

function entryOf({ macs: [mac], name, address }: MemberIdentity): HostEntry[] {
  return mac === undefined || address === undefined ? [] : [{ mac, name, ip: address }];
}
