import type { Lease } from '../../core/domain/network.js';
import { CowherdError } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { parseInterfaces } from '../../core/guest/agent.js';
import { type Ipv4Address, parseIpv4 } from '../../core/guest/values.js';
import { type NetworkChoice, parseNetwork } from '../../core/spec/spec.js';
import type { Ports, SshEndpoint, SshFiles } from '../../ports/index.js';
import { CachedPoll } from '../run/cached-poll.js';

/** How long a list of leases serves, in milliseconds. */
const leasesServeMs = 500;
const agentSeconds = 2;
export const sshPort = 22;
/** Where QEMU forwards ports from. */
const localhost = '127.0.0.1' as Ipv4Address;

export type EndpointPorts = Pick<Ports, 'networks' | 'agent' | 'seeds' | 'clock'>;

/** Where the members of one fleet are to be found. Everything is asked when it is needed, and leases once for all members. */
export class Endpoints {
  readonly #ports: EndpointPorts;
  readonly #record: FleetRecord;
  readonly #network: NetworkChoice;
  readonly #leases: CachedPoll<Lease[]>;
  #files: Promise<(member: string) => SshFiles> | undefined;

  constructor(ports: EndpointPorts, record: FleetRecord) {
    this.#ports = ports;
    this.#record = record;
    this.#network = parseNetwork(record.spec.network);
    this.#leases = new CachedPoll(ports.clock, leasesServeMs, () => ports.networks.leases(this.#network.source));
  }

  /** The lease that a member has now on its libvirt network. */
  async lease(member: MemberIdentity): Promise<Lease | undefined> {
    if (this.#network.kind !== 'network') return undefined;
    const macs = new Set<string>(member.macs);
    return (await this.#leases.get()).findLast((lease) => macs.has(lease.mac));
  }

  /**
   * The address that the guest's agent reports for one of the member's own network cards. Of others (a bridge of containers, say)
   * nothing is taken, and an address of this host is not believed: ssh would run commands here instead of in the guest.
   * @throws GUEST_UNREACHABLE
   */
  async agentAddress(member: MemberIdentity): Promise<Ipv4Address | undefined> {
    const interfaces = parseInterfaces(
      await this.#ports.agent.command(member.name, { execute: 'guest-network-get-interfaces' }, agentSeconds),
    );
    const own = new Set<string>(member.macs);
    const ofHost = this.#ports.networks.hostAddresses();
    return interfaces.find(({ mac, ip }) => own.has(mac) && !ofHost.has(ip))?.ip;
  }

  /** Where the member can be reached from this host; undefined where nothing is known of it yet. */
  async host(member: MemberIdentity): Promise<{ host: Ipv4Address; port: number } | undefined> {
    const { kind } = this.#network;
    if (kind === 'none') return undefined;
    if (kind === 'user') return member.sshPort === undefined ? undefined : { host: localhost, port: member.sshPort };
    const leased = (await this.lease(member))?.ip;
    // With a network-config of its own the guest may be anywhere: it is asked first.
    const told = leased === undefined && this.#record.spec.networkConfig !== undefined ? await this.#toldByAgent(member) : undefined;
    const host = leased ?? told ?? parseIpv4(member.address) ?? (await this.#toldByAgent(member));
    return host === undefined ? undefined : { host, port: sshPort };
  }

  /** Which key and which known hosts are for a member. */
  async sshFiles(member: MemberIdentity): Promise<SshFiles> {
    this.#files ??= this.#ports.seeds.sshFiles(this.#record.name);
    return (await this.#files)(member.name);
  }

  #toldByAgent(member: MemberIdentity): Promise<Ipv4Address | undefined> {
    return this.agentAddress(member).catch(() => undefined);
  }

  /** @throws GUEST_UNREACHABLE where the member has no address, and why */
  async ssh(member: MemberIdentity): Promise<SshEndpoint> {
    const where = await this.host(member);
    if (where === undefined) {
      throw new CowherdError('GUEST_UNREACHABLE', `There is no way to ${member.name} by ssh: ${this.#whyNowhere()}`, {
        hint: this.#remedy(member),
      });
    }
    return { member: member.name, ...where, user: this.#record.spec.sshUser, ...(await this.sshFiles(member)) };
  }

  #whyNowhere(): string {
    if (this.#network.kind === 'none') return 'the fleet has no network';
    if (this.#network.kind === 'user') return 'user networking without a forwarded port leads out of the guest, and not in';
    return 'no address of it is known';
  }

  #remedy(member: MemberIdentity): string {
    const { name } = this.#record;
    if (this.#network.kind === 'none')
      return `cowherd spawn ${name} --network network=default, then a reset; or go by the agent: --via agent`;
    if (this.#network.kind === 'user')
      return `cowherd spawn ${name} --forward-ssh takes effect at the next start; or go by the agent: --via agent`;
    return `See its console: cowherd logs ${member.name}. Does the guest ask for an address by DHCP, or have an agent?`;
  }
}
