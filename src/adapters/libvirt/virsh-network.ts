import {
  AddressTaken,
  type HostEntry,
  type Lease,
  type NetworkDefinition,
  type NetworkSide,
  parseLeases,
  parseNetworkXml,
} from '../../core/domain/network.js';
import { CowherdError } from '../../core/errors.js';
import { escapeXml, shellWord } from '../../core/quoting.js';
import type { NetworkState, Networks } from '../../ports/index.js';
import { hostAddresses } from '../host/addresses.js';
import { runTool } from '../process.js';
import { faultOf, virshError } from './session/virsh-errors.js';
import { quote, type Reply } from './session/virsh-session.js';

/** libvirt's networks, through persistent virsh sessions. */
export class VirshNetworks implements Networks {
  readonly #run: (command: string) => Promise<Reply>;
  readonly #dhcpIndexes = new Map<string, number | undefined>();

  constructor(run: (command: string) => Promise<Reply>) {
    this.#run = run;
  }

  async state(name: string): Promise<NetworkState> {
    const reply = await this.#run(`net-info --network ${quote(name)}`);
    if (faultOf(reply.error) === 'network not found') return { exists: false, active: false, persistent: false };
    if (reply.error !== '') throw virshError(`query network ${name}`, reply.error);
    const says = (key: string): boolean => new RegExp(`^${key}:\\s+yes`, 'm').test(reply.stdout);
    return { exists: true, active: says('Active'), persistent: says('Persistent') };
  }

  async definition(name: string): Promise<NetworkDefinition> {
    return parseNetworkXml(await this.#query(`net-dumpxml --network ${quote(name)}`, `read network ${name}`));
  }

  async leases(name: string): Promise<Lease[]> {
    return parseLeases(await this.#query(`net-dhcp-leases --network ${quote(name)}`, `read the leases of network ${name}`));
  }

  async sides(name: string): Promise<Map<NetworkSide, NetworkDefinition>> {
    const { active, persistent } = await this.state(name);
    const found = new Map<NetworkSide, NetworkDefinition>();
    if (active) found.set('live', await this.#read(name, 'live'));
    if (persistent) found.set('config', await this.#read(name, 'config'));
    return found;
  }

  async addHost(name: string, side: NetworkSide, host: HostEntry): Promise<void> {
    const error = await this.#update(name, side, 'add', host);
    if (error === '') return;
    if (faultOf(error) !== 'address taken') throw updateError(name, 'reserve', host, error);
    // A call is retried after a lost connection, and then finds its own entry.
    const { hosts } = await this.#read(name, side);
    const isThere = hosts.some(({ mac, ip }) => mac === host.mac && ip === host.ip);
    if (!isThere) throw new AddressTaken(name, host);
  }

  async removeHost(name: string, side: NetworkSide, host: HostEntry): Promise<void> {
    const error = await this.#update(name, side, 'delete', host);
    if (error !== '' && faultOf(error) !== 'address not found') throw updateError(name, 'release', host, error);
  }

  hostAddresses(): ReadonlySet<string> {
    return hostAddresses();
  }

  async releaseLeases(bridge: string, leases: readonly Lease[]): Promise<void> {
    for (const { ip, mac } of leases) {
      // dhcp_release is in dnsmasq-utils and needs root. Without it, leases expire by themselves.
      const done = await runTool('dhcp_release', [bridge, ip, mac], { timeoutMs: 10_000 }).catch(() => undefined);
      if (done === undefined) return;
    }
  }

  async start(name: string): Promise<void> {
    const reply = await this.#run(`net-start --network ${quote(name)}`);
    if (reply.error !== '' && faultOf(reply.error) !== 'network active') throw virshError(`start network ${name}`, reply.error);
  }

  async #update(name: string, side: NetworkSide, verb: 'add' | 'delete', host: HostEntry): Promise<string> {
    const parent = await this.#dhcpIndex(name, side);
    const place = parent === undefined ? '' : ` --parent-index ${parent}`;
    return (await this.#run(`net-update --network ${quote(name)} ${verb} ip-dhcp-host ${quote(entry(host))} --${side}${place}`)).error;
  }

  /** The index of the <ip> that the entries belong to; fixed while a network runs. An IPv6 one with DHCP may precede it. */
  async #dhcpIndex(name: string, side: NetworkSide): Promise<number | undefined> {
    const key = `${side} ${name}`;
    if (!this.#dhcpIndexes.has(key)) await this.#read(name, side);
    return this.#dhcpIndexes.get(key);
  }

  async #read(name: string, side: NetworkSide): Promise<NetworkDefinition> {
    const inactive = side === 'config' ? ' --inactive' : '';
    const definition = parseNetworkXml(await this.#query(`net-dumpxml --network ${quote(name)}${inactive}`, `read network ${name}`));
    this.#dhcpIndexes.set(`${side} ${name}`, definition.dhcpIndex);
    return definition;
  }

  async #query(command: string, doing: string): Promise<string> {
    const reply = await this.#run(command);
    if (reply.error !== '') throw virshError(doing, reply.error);
    return reply.stdout;
  }
}

function updateError(network: string, doing: 'reserve' | 'release', { ip, name }: HostEntry, error: string): CowherdError {
  const failure = virshError(`${doing} ${ip} for ${name} on network ${network}`, error);
  return new CowherdError(failure.code, failure.message, {
    details: failure.details,
    hint: `See the entries with "virsh net-dumpxml ${shellWord(network)}"; correct them, then run the command again.`,
  });
}

/** The complete entry: when deleting by MAC only, libvirt also matches an entry without a MAC. */
function entry({ mac, name, ip }: HostEntry): string {
  return `<host mac="${escapeXml(mac)}" name="${escapeXml(name)}" ip="${escapeXml(ip)}"/>`;
}
