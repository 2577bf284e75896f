import type { Lease } from '../../core/domain/network.js';
import { CowherdError } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { parseInterfaces } from '../../core/guest/agent.js';
import { guestIpv4, type Ipv4Address, parseIpv4 } from '../../core/guest/values.js';
import { type NetworkChoice, parseNetwork } from '../../core/spec/flag-values.js';
import type { Ports, SshEndpoint, SshFiles } from '../../ports/index.js';
import { CachedPoll } from '../run/cached-poll.js';

/** Cache time for leases, in milliseconds. */
const leasesServeMs = 500;
const agentSeconds = 2;
export const sshPort = 22;
/** The address whose ports QEMU forwards. */
const localhost = '127.0.0.1' as Ipv4Address;

export type EndpointPorts = Pick<Ports, 'networks' | 'agent' | 'seeds' | 'clock'>;

/** Addresses and ssh endpoints of one fleet's members. Queried on demand; leases are read once for all members. */
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

  /** The member's current lease on its libvirt network. */
  async lease(member: MemberIdentity): Promise<Lease | undefined> {
    if (this.#network.kind !== 'network') return undefined;
    const macs = new Set<string>(member.macs);
    return (await this.#leases.get()).findLast((lease) => macs.has(lease.mac));
  }

  /** The address that the guest's agent reports for one of the member's own network cards. Other interfaces, such as container bridges, are ignored, and so is what {@link guestIpv4} refuses.
   * @throws GUEST_UNREACHABLE
   */
  async agentAddress(member: MemberIdentity): Promise<Ipv4Address | undefined> {
    const interfaces = parseInterfaces(
      await this.#ports.agent.command(member.name, { execute: 'guest-network-get-interfaces' }, agentSeconds),
    );
    const own = new Set<string>(member.macs);
    const ofHost = this.#ports.networks.hostAddresses();
    return interfaces.find(({ mac, ip }) => own.has(mac) && guestIpv4(ip, ofHost) !== undefined)?.ip;
  }

  /** The member's address as seen from this host; undefined if not known yet. */
  async host(member: MemberIdentity): Promise<{ host: Ipv4Address; port: number } | undefined> {
    const { kind } = this.#network;
    if (kind === 'none') return undefined;
    if (kind === 'user') return member.sshPort === undefined ? undefined : { host: localhost, port: member.sshPort };
    const leased = (await this.lease(member))?.ip;
    // With a custom network-config the guest may have any address: ask the agent first.
    const reported = leased === undefined && this.#record.spec.networkConfig !== undefined ? await this.#addressByAgent(member) : undefined;
    const host = leased ?? reported ?? parseIpv4(member.address) ?? (await this.#addressByAgent(member));
    return host === undefined ? undefined : { host, port: sshPort };
  }

  /** The ssh key and known_hosts file of a member. */
  async sshFiles(member: MemberIdentity): Promise<SshFiles> {
    this.#files ??= this.#ports.seeds.sshFiles(this.#record.name);
    return (await this.#files)(member.name);
  }

  #addressByAgent(member: MemberIdentity): Promise<Ipv4Address | undefined> {
    return this.agentAddress(member).catch(() => undefined);
  }

  /** @throws GUEST_UNREACHABLE if the member has no address */
  async ssh(member: MemberIdentity): Promise<SshEndpoint> {
    const where = await this.host(member);
    if (where === undefined) {
      throw new CowherdError('GUEST_UNREACHABLE', `Cannot reach ${member.name} by ssh: ${this.#whyUnreachable()}`, {
        hint: this.#remedy(member),
      });
    }
    return { member: member.name, ...where, user: this.#record.spec.sshUser, ...(await this.sshFiles(member)) };
  }

  #whyUnreachable(): string {
    if (this.#network.kind === 'none') return 'the fleet has no network';
    if (this.#network.kind === 'user') return 'user networking needs a forwarded port for incoming connections';
    return 'its address is not known';
  }

  #remedy(member: MemberIdentity): string {
    const { name } = this.#record;
    if (this.#network.kind === 'none')
      return `cowherd spawn ${name} --network network=default, then a reset; or use the agent: --via agent`;
    if (this.#network.kind === 'user')
      return `cowherd spawn ${name} --forward-ssh takes effect at the next start; or use the agent: --via agent`;
    return `See its console: cowherd logs ${member.name}. The guest needs DHCP or a guest agent.`;
  }
}
