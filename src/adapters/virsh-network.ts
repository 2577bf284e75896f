import { networkInterfaces } from 'node:os';
import { CowherdError } from '../core/errors.js';
import { type HostEntry, type Lease, type NetworkDefinition, parseLeases, parseNetworkXml } from '../core/network.js';
import { escapeXml } from '../core/quoting.js';
import type { NetworkState, Networks } from '../ports.js';
import { runTool } from './process.js';
import { faultOf, virshError } from './virsh-errors.js';
import { quote, type Reply } from './virsh-session.js';

/** libvirt's networks, through kept-open virsh sessions. */
export class VirshNetworks implements Networks {
  readonly #run: (command: string) => Promise<Reply>;

  constructor(run: (command: string) => Promise<Reply>) {
    this.#run = run;
  }

  async state(name: string): Promise<NetworkState> {
    const reply = await this.#run(`net-info ${quote(name)}`);
    if (faultOf(reply.error) === 'network not found') return { exists: false, active: false, persistent: false };
    if (reply.error !== '') throw virshError(`look at network ${name}`, reply.error);
    const says = (key: string): boolean => new RegExp(`^${key}:\\s+yes`, 'm').test(reply.stdout);
    return { exists: true, active: says('Active'), persistent: says('Persistent') };
  }

  async definition(name: string): Promise<NetworkDefinition> {
    return parseNetworkXml(await this.#ask(`net-dumpxml ${quote(name)}`, `read network ${name}`));
  }

  async leases(name: string): Promise<Lease[]> {
    return parseLeases(await this.#ask(`net-dhcp-leases ${quote(name)}`, `read the leases of network ${name}`));
  }

  addHosts(name: string, hosts: readonly HostEntry[]): Promise<void> {
    return this.#update(name, 'add', hosts);
  }

  removeHosts(name: string, hosts: readonly HostEntry[]): Promise<void> {
    return this.#update(name, 'delete', hosts);
  }

  hostAddresses(): ReadonlySet<string> {
    return new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)));
  }

  async releaseLeases(bridge: string, leases: readonly Lease[]): Promise<void> {
    for (const { ip, mac } of leases) {
      // Of the package dnsmasq-utils, and for root alone. Without it leases end in their own time.
      const done = await runTool('dhcp_release', [bridge, ip, mac], { timeoutMs: 10_000 }).catch(() => undefined);
      if (done === undefined) return;
    }
  }

  async start(name: string): Promise<void> {
    const reply = await this.#run(`net-start ${quote(name)}`);
    if (reply.error !== '' && !/already active/i.test(reply.error)) throw virshError(`start network ${name}`, reply.error);
  }

  /** One entry after the other: libvirt takes one per call, and they would only wait for each other. */
  async #update(name: string, verb: 'add' | 'delete', hosts: readonly HostEntry[]): Promise<void> {
    if (hosts.length === 0) return;
    const { active, persistent } = await this.state(name);
    const flags = [...(active ? ['--live'] : []), ...(persistent ? ['--config'] : [])].join(' ');
    for (const host of hosts) {
      const reply = await this.#run(`net-update ${quote(name)} ${verb} ip-dhcp-host ${quote(entry(host))} ${flags}`);
      // What is gone already is what was asked for.
      if (reply.error === '' || (verb === 'delete' && /couldn't locate a matching/i.test(reply.error))) continue;
      const failure = virshError(`${verb === 'add' ? 'reserve' : 'release'} ${host.ip} for ${host.name} on network ${name}`, reply.error);
      throw new CowherdError(failure.code, failure.message, {
        details: failure.details,
        hint: `See the entries with "virsh net-dumpxml ${name}"; run the command again when that is mended.`,
      });
    }
  }

  async #ask(command: string, doing: string): Promise<string> {
    const reply = await this.#run(command);
    if (reply.error !== '') throw virshError(doing, reply.error);
    return reply.stdout;
  }
}

/** Told whole: asked to delete by MAC alone, libvirt also takes an entry that has none for the one that is meant. */
function entry({ mac, name, ip }: HostEntry): string {
  return `<host mac="${escapeXml(mac)}" name="${escapeXml(name)}" ip="${escapeXml(ip)}"/>`;
}
