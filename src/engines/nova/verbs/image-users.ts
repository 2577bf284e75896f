import { CowherdError, reportOf } from '../../../core/errors.js';
import { basesOf, type FleetRecord } from '../../../core/fleet/record.js';
import { excerpt } from '../../../core/guest/text.js';
import type { CallOptions } from '../api/server-actions.js';
import type { NovaContext } from '../context.js';
import { managedTag, markOf } from '../core/member-tags.js';
import type { Server } from '../core/servers.js';

/** Users of images: records of fleets, unfinished operations, and servers. */

export interface ImageUsers {
  /** Fleet names by image id. */
  fleets: ReadonlyMap<string, ReadonlySet<string>>;
  /** Those of them that have servers with it, whether or not this host has their record. */
  members: ReadonlyMap<string, ReadonlySet<string>>;
  /** Digests that records have of an image, by fleet, by image id. */
  recorded: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Names of servers of no fleet, by image id. */
  servers: ReadonlyMap<string, readonly string[]>;
  /** Fleets whose state cannot be read: they may use any image. */
  unreadable: Array<{ path: string; reason: string }>;
}

/**
 * @param options.everyServer also servers that cowherd did not create; without it, only members
 * @throws like every call of the cloud
 */
export async function imageUsers(
  { cloud, ports }: Pick<NovaContext, 'cloud' | 'ports'>,
  { everyServer, signal }: CallOptions & { everyServer: boolean },
): Promise<ImageUsers> {
  const fleets = new Map<string, Set<string>>();
  const recorded = new Map<string, Map<string, string>>();
  const unreadable: ImageUsers['unreadable'] = [];
  for (const fleet of await ports.fleets.list()) {
    try {
      const records = [await ports.fleets.read(fleet), (await ports.fleets.unfinished(fleet))?.operation.record];
      for (const [digest, id] of records.flatMap(imagesOf)) {
        entry(fleets, id, () => new Set<string>()).add(fleet);
        entry(recorded, id, () => new Map<string, string>()).set(fleet, digest);
      }
    } catch (error) {
      unreadable.push({ path: `fleet ${fleet}`, reason: reportOf(error).message });
    }
  }
  const servers = new Map<string, string[]>();
  const members = new Map<string, Set<string>>();
  for (const server of await cloud.servers.list(everyServer ? [] : [managedTag], { signal })) {
    if (server.imageId === undefined) continue;
    const fleet = fleetOf(server);
    // Also members of fleets that other hosts have recorded.
    if (fleet !== undefined) for (const users of [fleets, members]) entry(users, server.imageId, () => new Set<string>()).add(fleet);
    else entry(servers, server.imageId, () => []).push(excerpt(server.name));
  }
  return { fleets, members, recorded, servers, unreadable };
}

/** For commands that remove images. @throws BASE_IN_USE if a fleet cannot be read: it may use any image */
export async function verifiedUsers(context: Pick<NovaContext, 'cloud' | 'ports'>, options: CallOptions): Promise<ImageUsers> {
  const users = await imageUsers(context, { everyServer: true, signal: options.signal });
  if (users.unreadable.length === 0) return users;
  throw new CowherdError('BASE_IN_USE', 'Cannot determine which base images are in use: some fleets cannot be read', {
    details: users.unreadable.map(({ path, reason }) => `${path}: ${reason}`),
    hint: 'Repair or remove these fleets first.',
  });
}

/** The images that a record uses now: a rebase leaves those of before in its list. @returns digest and id */
function imagesOf(record: FleetRecord | undefined): Array<[string, string]> {
  if (record?.placement === undefined) return [];
  const { images } = record.placement;
  return basesOf(record).flatMap(({ digest }): Array<[string, string]> => {
    const id = images[digest];
    return id === undefined ? [] : [[digest, id]];
  });
}

function fleetOf(server: Server): string | undefined {
  const mark = markOf(server);
  return mark === undefined ? undefined : excerpt(mark.fleet);
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
