import { shellWord } from '../../core/quoting.js';
import { parseNetwork } from '../../core/spec/flag-values.js';
import type { Ports } from '../../ports/index.js';
import { attempt, type Check, ok } from './checks.js';

export async function checkNetwork(
  { hypervisor, networks, machine }: Pick<Ports, 'hypervisor' | 'networks' | 'machine'>,
  network: string,
): Promise<Check> {
  const { kind, source } = parseNetwork(network);
  if (kind === 'bridge') {
    const lack = await bridgeLack(machine, source);
    if (lack !== undefined) return lack;
  }
  if (kind !== 'network') {
    if (kind === 'bridge' && !hypervisor.isSystem) {
      return {
        name: 'network',
        status: 'warning',
        message: 'a session connection can use a bridge only through qemu-bridge-helper',
        hint: 'Use --network user, or the system connection.',
      };
    }
    return ok('network', network);
  }
  return attempt('network', async () => {
    const { exists, active } = await networks.state(source);
    if (active) return ok('network', `${source} is active`);
    if (exists) {
      return {
        name: 'network',
        status: 'failed',
        message: `network ${source} is not active`,
        hint: `Start it: virsh net-start ${shellWord(source)}`,
      };
    }
    return {
      name: 'network',
      status: 'failed',
      message: `network ${source} not found`,
      hint: 'List the networks: virsh net-list --all',
    };
  });
}

/** libvirt checks a bridge only when a guest starts. */
async function bridgeLack(machine: Pick<Ports['machine'], 'linkKind'>, bridge: string): Promise<Check | undefined> {
  const kind = await machine.linkKind(bridge);
  if (kind === 'bridge') return undefined;
  const word = shellWord(bridge);
  if (kind === 'other') {
    return {
      name: 'network',
      status: 'warning',
      message: `${bridge} is not a Linux bridge: members can use it only with a custom template`,
      hint: 'List the bridges: ip -br link show type bridge',
    };
  }
  return {
    name: 'network',
    status: 'failed',
    message: `bridge ${bridge} not found on this host`,
    hint: `List the bridges with "ip -br link show type bridge", or create it: sudo ip link add name ${word} type bridge && sudo ip link set ${word} up`,
  };
}
