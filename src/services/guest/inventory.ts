import type { Inventory, InventoryMember } from '../../core/fleet/inventory.js';
import { selectMembers } from '../../core/fleet/selection/selection.js';
import { parseIpv4 } from '../../core/guest/values.js';
import { isSshConfigValue } from '../../core/quoting.js';
import type { Ports, SshFiles } from '../../ports/index.js';
import { sshPort } from './endpoints.js';
import { localGuests, type OpenGuests } from './guests.js';

/** Time limit for the addresses of all agents together, in milliseconds. */
const agentsMs = 2_000;

/** Address and ssh key of each member. */
export function inventory(ports: Ports, fleet: string, words: readonly string[] = []): Promise<Inventory> {
  return inventoryOf(ports, localGuests(ports), fleet, words);
}

/** As {@link inventory}, on any engine. */
export async function inventoryOf(
  ports: Pick<Ports, 'remote' | 'clock'>,
  open: OpenGuests,
  fleet: string,
  words: readonly string[] = [],
): Promise<Inventory> {
  const { record, running, endpoints } = await open(fleet);
  const enough = new AbortController();
  const isOver = ports.clock.sleep(agentsMs, enough.signal);
  const members = await Promise.all(
    selectMembers(record.name, record.members, words).map(async (member): Promise<InventoryMember> => {
      const address = parseIpv4(member.address);
      const reserved = address === undefined ? undefined : { host: address, port: sshPort };
      // Stopped or hanging guests cannot answer; a forwarded port is known without them.
      const isAsked = running.has(member.name) || member.sshPort !== undefined;
      const where = isAsked ? await Promise.race([endpoints.host(member), isOver.then(() => reserved)]) : reserved;
      const files = await endpoints.sshFiles(member);
      const user = record.spec.sshUser;
      return {
        index: member.index,
        name: member.name,
        state: running.has(member.name) ? 'on' : 'off',
        host: where?.host ?? null,
        port: where?.port ?? null,
        user,
        identityFile: files.identityFile ?? null,
        knownHostsFile: files.knownHostsFile,
        sshConfig:
          where === undefined || !isInSshConfig(files) ? [] : ports.remote.config({ member: member.name, ...where, user, ...files }),
      };
    }),
  );
  enough.abort();
  return { fleet: record.name, members };
}

function isInSshConfig({ identityFile = '', knownHostsFile }: SshFiles): boolean {
  return [identityFile, knownHostsFile].every(isSshConfigValue);
}
