import { CowherdError } from '../../../core/errors.js';
import { memberIdentity } from '../../../core/fleet/identity.js';
import { fleetRecordSchema, growMembers } from '../../../core/fleet/record.js';
import { limits } from '../../../core/limits.js';
import { assertName } from '../../../core/names.js';
import { type DomainSpec, defaultDomainSpec, domainSpecSchema, type Placement, placementSchema } from '../../../core/spec/spec.js';
import { withFleetLock } from '../../../services/fleet/access.js';
import type { NovaContext } from '../context.js';
import { baseRefOf } from '../core/fleet-image.js';
import type { Image } from '../core/images.js';
import { settingPrefix } from '../core/member-server.js';
import { fleetTag, type MemberMark, markOf } from '../core/member-tags.js';
import { observeServers } from '../core/members.js';
import { oldestFirst, type Server } from '../core/servers.js';
import { engineName, lostSetting, type NovaRecord } from './record.js';

type Marked = { server: Server; mark: MemberMark };

/**
 * Rebuilds the record of a fleet from the tags and metadata of its servers. User-data and secrets are not in the cloud: new members
 * need them again.
 * @throws FLEET_NOT_FOUND if no server belongs to the fleet; BAD_USAGE if its record is intact
 */
export function recover(context: NovaContext, fleet: string): Promise<void> {
  const { fleets } = context.ports;
  assertName('fleet', fleet);
  return withFleetLock({ fleets }, fleet, async () => {
    const existing = await fleets.read(fleet).catch(() => undefined);
    if (existing !== undefined) {
      throw new CowherdError('BAD_USAGE', `Fleet ${fleet} does not need recovery: its record is intact`, {
        hint: `See its state: cowherd status ${fleet}`,
      });
    }
    await fleets.write(await recordOf(context, fleet, await markedServers(context, fleet)));
  });
}

/** Servers of one fleet of that name, the oldest first. */
async function markedServers({ cloud, ports, title }: NovaContext, fleet: string): Promise<[Marked, ...Marked[]]> {
  const marked = oldestFirst(await cloud.servers.list([fleetTag(fleet)])).flatMap((server) => {
    const mark = markOf(server);
    return mark !== undefined && isPossible(mark, fleet) ? [{ server, mark }] : [];
  });
  const ids = new Set(marked.map(({ mark }) => mark.fleetId));
  if (ids.size > 1) {
    throw new CowherdError('STATE_DAMAGED', `${title} has servers of ${ids.size} fleets that are named ${fleet}`, {
      details: [...ids].map((id) => `${id}: ${marked.filter(({ mark }) => mark.fleetId === id).length} servers`),
      hint: 'Delete the servers of the fleets that are not needed: openstack server list --long, openstack server delete ID.',
    });
  }
  const [first, ...others] = marked;
  if (first !== undefined) return [first, ...others];
  const isBegun = (await ports.fleets.list()).includes(fleet);
  throw new CowherdError('FLEET_NOT_FOUND', `No server in ${title} belongs to fleet ${fleet}`, {
    hint: isBegun
      ? `If its spawn was interrupted before its first server, run it again: cowherd spawn ${fleet} --base IMAGE --flavor NAME --count N. Otherwise check the connection (--connect) and the project of its user.`
      : 'Check the connection (--connect) and the project of its user.',
  });
}

/** Users of the project can write marks that no command has written, and that no record can have. */
function isPossible({ fleet, fleetId, index }: MemberMark, wanted: string): boolean {
  return fleet === wanted && index <= limits.members.max && fleetRecordSchema.shape.id.safeParse(fleetId).success;
}

async function recordOf(context: NovaContext, fleet: string, marked: readonly [Marked, ...Marked[]]): Promise<NovaRecord> {
  const [{ server, mark }] = marked;
  const id = mark.fleetId;
  const images = await imagesOf(context, marked);
  const base = baseRefOf(mostUsed(marked, images));
  const settings = settingsOf(server);
  const project = await context.cloud.projectId();
  const members = growMembers(
    fleet,
    id,
    marked.map((one) => memberIdentity(fleet, id, one.mark.index, 0)),
    0,
    0,
  );
  const observed = observeServers(
    { id, members },
    marked.map((one) => one.server),
  );
  const own = new Map(observed.members.map((one) => [one.index, images.get(one.server?.imageId ?? '')]));
  return {
    version: 1,
    id,
    name: fleet,
    base,
    spec: specOf(server, settings),
    placement: {
      engine: engineName,
      ...(project === undefined ? {} : { place: project }),
      settings: placementOf(server, settings),
      images: Object.fromEntries([...images.values()].map((image) => [baseRefOf(image).digest, image.id])),
    },
    createdAt: new Date(server.created).toISOString(),
    freshOverlayBytes: 0,
    members: members.map((member) => {
      const image = own.get(member.index);
      const ref = image === undefined ? base : baseRefOf(image);
      return ref.digest === base.digest ? member : { ...member, base: ref };
    }),
  };
}

function specOf({ flavor }: Server, { network, sshUser }: Record<string, unknown>): DomainSpec {
  const { shape } = domainSpecSchema;
  const memoryMiB = shape.memoryMiB.safeParse(flavor?.ramMiB).data;
  const vcpus = shape.vcpus.safeParse(flavor?.vcpus).data;
  const user = shape.sshUser.safeParse(sshUser).data;
  return {
    ...defaultDomainSpec,
    ...(memoryMiB === undefined ? {} : { memoryMiB }),
    ...(vcpus === undefined ? {} : { vcpus }),
    ...(user === undefined ? {} : { sshUser: user }),
    network: network === 'none' ? 'none' : 'network=auto',
    // Its templates and keys were with the record.
    seed: 'none',
  };
}

/** A setting that is none is left out, and does not take the others with it. */
function placementOf({ flavor }: Server, { seed, sshUser: _user, ...settings }: Record<string, unknown>): Placement {
  const valid = Object.entries(settings).flatMap(([name, value]) =>
    Object.entries(placementSchema.safeParse({ [name]: value }).data ?? {}),
  );
  return {
    ...(flavor === undefined || flavor.name === '' ? {} : { flavor: flavor.name }),
    ...Object.fromEntries(valid),
    ...(seed === 'nocloud' ? { [lostSetting]: 'user-data' } : {}),
  };
}

/** What the server was created with. Metadata can be edited by users of the project, so each value is checked. */
function settingsOf({ metadata }: Server): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(metadata).flatMap(([key, text]) => {
      if (!key.startsWith(settingPrefix)) return [];
      try {
        return [[key.slice(settingPrefix.length), JSON.parse(text)]];
      } catch {
        return [];
      }
    }),
  );
}

async function imagesOf({ cloud }: NovaContext, marked: readonly Marked[]): Promise<Map<string, Image>> {
  const ids = new Set(marked.flatMap(({ server }) => server.imageId ?? []));
  const images = new Map<string, Image>();
  for (const id of ids) {
    const image = await cloud.images.get(id);
    if (image !== undefined) images.set(id, image);
  }
  return images;
}

function mostUsed(marked: readonly Marked[], images: ReadonlyMap<string, Image>): Image {
  const users = (id: string): number => marked.filter(({ server }) => server.imageId === id).length;
  const [most] = [...images.values()].sort((a, b) => users(b.id) - users(a.id));
  if (most !== undefined) return most;
  throw new CowherdError('BASE_CHANGED', 'The images of its servers are no longer in the cloud, so the fleet cannot be reset or grown', {
    hint: 'Its servers still run: see them with "openstack server list", save what you need, and delete them with "openstack server delete ID".',
  });
}
