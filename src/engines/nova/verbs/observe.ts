import type { FleetRecord } from '../../../core/fleet/record.js';
import type { CallOptions } from '../api/server-actions.js';
import type { NovaContext } from '../context.js';
import { fleetTag } from '../core/member-tags.js';
import { type ObservedFleet, observeServers } from '../core/members.js';
import type { Server } from '../core/servers.js';

/** A list leaves out why some servers are in state ERROR; that many are asked for it. */
const mostFaults = 20;

/** The servers of a fleet, as they are now. */
export async function observeFleet(
  { cloud }: Pick<NovaContext, 'cloud'>,
  record: Pick<FleetRecord, 'id' | 'name' | 'members'>,
  options: CallOptions = {},
): Promise<ObservedFleet> {
  return observeServers(record, await withFaults(cloud, await cloud.servers.list([fleetTag(record.name)], options), options));
}

async function withFaults(cloud: NovaContext['cloud'], servers: readonly Server[], options: CallOptions): Promise<Server[]> {
  const unexplained = servers.filter(({ status, fault }) => status === 'ERROR' && fault === undefined).slice(0, mostFaults);
  const explained = await Promise.all(unexplained.map(({ id }) => cloud.servers.get(id, options)));
  const byId = new Map(explained.flatMap((server) => (server === undefined ? [] : [[server.id, server]])));
  return servers.map((server) => byId.get(server.id) ?? server);
}
