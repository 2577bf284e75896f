import { CowherdError } from '../../../core/errors.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { Ipv4Address } from '../../../core/guest/values.js';
import type { SshEndpoint, SshFiles } from '../../../ports/guest.js';
import type { Engine } from '../../../services/engine/engine.js';
import { loadFleet } from '../../../services/fleet/access.js';
import { copyInGuests } from '../../../services/guest/copy.js';
import { sshPort } from '../../../services/guest/endpoints.js';
import { execInGuests } from '../../../services/guest/exec.js';
import type { GuestEndpoints, OpenGuests } from '../../../services/guest/guests.js';
import { inventoryOf } from '../../../services/guest/inventory.js';
import { loginTo } from '../../../services/guest/login.js';
import type { Transport } from '../../../services/guest/run.js';
import type { NovaContext } from '../context.js';
import { addressOf, isUp, whyNoAddress } from '../core/addresses.js';
import { fleetTag } from '../core/member-tags.js';
import { observeServers } from '../core/members.js';
import type { Server } from '../core/servers.js';

type Context = Pick<NovaContext, 'cloud' | 'ports'>;

/** The commands that work inside guests. Without an agent, ssh is the way, and says why a member cannot be reached. */
export function guestCommands(context: NovaContext): Pick<Engine, 'exec' | 'copy' | 'login' | 'inventory'> {
  const { ports } = context;
  const open = novaGuests(context);
  const wayOf = (via: Transport | undefined): Transport => (via === 'agent' ? 'agent' : 'ssh');
  return {
    exec: (options) => execInGuests(ports, open, { ...options, via: wayOf(options.via) }),
    copy: (request) => copyInGuests(ports, open, { ...request, via: wayOf(request.via) }),
    login: (words, command) => loginTo(ports, open, words, command),
    inventory: (fleet, members) => inventoryOf(ports, open, fleet, members),
  };
}

/** The guests in the cloud: reached by ssh only. */
export function novaGuests(context: Context): OpenGuests {
  return async (fleet) => {
    const record = await loadFleet(context.ports, fleet);
    const { members } = observeServers(record, await context.cloud.servers.list([fleetTag(record.name)]));
    const servers = new Map(members.map(({ name, server }) => [name, server]));
    const running = new Set(members.flatMap(({ name, server }) => (server !== undefined && isUp(server) ? [name] : [])));
    return { record, running, endpoints: new NovaEndpoints(context, record, async ({ name }) => servers.get(name)) };
  };
}

/** Addresses and ssh endpoints of one fleet's members. */
export class NovaEndpoints implements GuestEndpoints {
  #files: Promise<(member: string) => SshFiles> | undefined;

  /** @param serverOf a member's server as it is now; undefined if it has none */
  constructor(
    private readonly context: Pick<NovaContext, 'ports'>,
    private readonly record: FleetRecord,
    private readonly serverOf: (member: MemberIdentity) => Promise<Server | undefined>,
  ) {}

  async host(member: MemberIdentity): Promise<{ host: Ipv4Address; port: number } | undefined> {
    const server = await this.serverOf(member);
    const host = server === undefined ? undefined : addressOf(server, this.context.ports.networks.hostAddresses());
    return host === undefined ? undefined : { host, port: sshPort };
  }

  async ssh(member: MemberIdentity): Promise<SshEndpoint> {
    const where = await this.host(member);
    if (where === undefined) throw await this.#unreachable(member);
    return { member: member.name, ...where, user: this.record.spec.sshUser, ...(await this.sshFiles(member)) };
  }

  async sshFiles(member: MemberIdentity): Promise<SshFiles> {
    this.#files ??= this.context.ports.seeds.sshFiles(this.record.name);
    return (await this.#files)(member.name);
  }

  async #unreachable(member: MemberIdentity): Promise<CowherdError> {
    const server = await this.serverOf(member);
    const why = server === undefined ? 'it has no server' : whyNoAddress(server);
    return new CowherdError('GUEST_UNREACHABLE', `Cannot reach ${member.name} by ssh: ${why}`, {
      hint:
        server === undefined
          ? `Create it again: cowherd spawn ${this.record.name}`
          : `Give it an address that this host can reach, e.g. openstack server add floating ip ${server.id} ADDRESS; or see its console: cowherd logs ${member.name}`,
    });
  }
}
