import { CowherdError } from '../../../core/errors.js';
import { baseOf } from '../../../core/fleet/record.js';
import { excerpt } from '../../../core/guest/text.js';
import { assertName } from '../../../core/names.js';
import type { PromoteOptions, Promotion } from '../../../services/base/promote.js';
import { assertNothingUnfinished, assertWork, withFleetLock } from '../../../services/fleet/access.js';
import { type FoundMember, findMember } from '../../../services/fleet/members.js';
import type { NovaContext } from '../context.js';
import { baseNameOf, baseTag } from '../core/fleet-image.js';
import { imageMark, isUsable } from '../core/image-marks.js';
import { preferred } from '../core/image-ref.js';
import type { Image } from '../core/images.js';
import { fleetTag, memberTag } from '../core/member-tags.js';
import { type NovaMember, observeServers } from '../core/members.js';
import type { Server } from '../core/servers.js';
import { listingOf } from './bases.js';
import { ownImages } from './find-image.js';
import { imageUsers } from './image-users.js';
import { shutDown, startAgain } from './power-cycle.js';
import { snapshotServer } from './snapshot-server.js';

/** How long the cloud may take to store the image: it copies the whole disk. */
const storeMs = 2 * 3_600_000;

/**
 * Creates a base image from a member's disk: the cloud saves the disk of its server as an image of its own.
 * @throws NOT_OFF if the member is running; LOCKED while the cloud is busy with it; BASE_REFUSED if it has no server or no local disk
 */
export async function promote(context: NovaContext, options: PromoteOptions): Promise<Promotion> {
  assertName('base', options.as);
  assertWork(options);
  const { record } = await findMember(context.ports, options.member);
  return withFleetLock(context.ports, record.name, () => promoteLocked(context, options));
}

async function promoteLocked(context: NovaContext, options: PromoteOptions): Promise<Promotion> {
  const { ports } = context;
  // Read again: the fleet is locked only now.
  const found = await findMember(ports, options.member);
  const { record, member } = found;
  await assertNothingUnfinished(ports, record.name, () => false);
  const server = assertPromotable(found, await serverOf(context, found, options.signal), options);
  const one = { server, name: member.name, tag: memberTag(record.id, member.index) };
  const isRunning = server.status === 'ACTIVE';
  let note: string | undefined;
  let image: Image;
  try {
    if (isRunning) await shutDown(context, one, options);
    options.onProgress?.({ kind: 'note', text: `Saving the disk of ${member.name} as an image.` });
    image = await snapshotServer(context, server, { ...marksOf(found, options.as), storeMs, signal: options.signal });
  } finally {
    if (isRunning) note = await startAgain(context, one);
    if (note !== undefined) options.onProgress?.({ kind: 'note', text: `${note}.` });
  }
  const { kept, how } = await seal(context, image, options);
  const users = await imageUsers(context, { everyServer: false }).catch(() => ({ fleets: new Map(), recorded: new Map() }));
  const notes = note === undefined ? [] : [note];
  return { ...listingOf(kept, users, true), how, generalisation: [], notes: [...notes, notInspected] };
}

const notInspected =
  'the image is in the cloud, so it was not checked for a machine-id or ssh host keys that all members would have in common';

/** The member's server, as the cloud shows it now. */
async function serverOf(
  { cloud }: NovaContext,
  { record, member }: FoundMember,
  signal: AbortSignal | undefined,
): Promise<NovaMember | undefined> {
  const { members } = observeServers(record, await cloud.servers.list([fleetTag(record.name)], { signal }));
  return members.find(({ index }) => index === member.index);
}

/** The checks before anything changes. @throws BASE_REFUSED, LOCKED, NOT_OFF */
function assertPromotable({ record, member }: FoundMember, observed: NovaMember | undefined, { stop }: PromoteOptions): Server {
  const { name, index } = member;
  const server = observed?.server;
  if (server === undefined) {
    throw new CowherdError('BASE_REFUSED', `${name} has no server`, {
      hint: `Create it again: cowherd spawn ${record.name}. "cowherd status ${record.name}" shows all members.`,
    });
  }
  if (server.imageId === undefined) {
    throw new CowherdError('BASE_REFUSED', `The server of ${name} boots from a volume: an image of it would have no file`, {
      hint: `Create an image from its volume: openstack image create --volume VOLUME ${server.id}`,
    });
  }
  if (server.taskState !== null) {
    throw new CowherdError('LOCKED', `The cloud is busy with ${name}: ${excerpt(server.taskState)}`, {
      hint: `Wait until that has ended (cowherd status ${record.name}), and run the command again.`,
    });
  }
  if (server.status === 'SHUTOFF' || (server.status === 'ACTIVE' && stop === true)) return server;
  if (server.status !== 'ACTIVE') {
    throw new CowherdError('NOT_OFF', `The server of ${name} is ${excerpt(server.status)}, not shut off`, {
      hint: `Start it and stop it: cowherd start ${record.name} ${index}; cowherd stop ${record.name} ${index}`,
    });
  }
  throw new CowherdError('NOT_OFF', `${name} is running: an image of its disk would lack what the guest has not written yet`, {
    hint: `Stop it first: cowherd stop ${record.name} ${index}, or use --stop`,
  });
}

function marksOf({ record, member }: FoundMember, name: string): { name: string; properties: Record<string, string> } {
  const parent = baseOf(record, member);
  return {
    name,
    properties: {
      [imageMark.base]: name,
      [imageMark.fleet]: record.name,
      [imageMark.member]: member.name,
      [imageMark.parent]: `${parent.name}@${parent.digest}`,
    },
  };
}

/** Makes it a base image, unless there is one with this name and content. */
async function seal(
  context: NovaContext,
  image: Image,
  { as: name, signal }: PromoteOptions,
): Promise<{ kept: Image; how: Promotion['how'] }> {
  const { images } = context.cloud;
  try {
    if (image.hash === undefined) {
      throw new CowherdError('BASE_REFUSED', `The image of the member has no hash, so changes of it could not be noticed`, {
        hint: 'The storage of this cloud creates images of servers without the Image service. Download the image and upload it: openstack image save, cowherd base add.',
      });
    }
    const isSame = (other: Image): boolean =>
      isUsable(other) && other.isProtected && baseNameOf(other) === name && other.hash?.value === image.hash?.value;
    const known = preferred((await ownImages(context, { signal })).filter((other) => other.id !== image.id && isSame(other)));
    if (known === undefined) {
      const properties = { [imageMark.state]: 'ready', [imageMark.hash]: image.hash.value };
      return { kept: await images.finish(image.id, { tags: [baseTag], properties }, { signal }), how: 'flattened' };
    }
    await images.delete(image.id, { signal });
    return { kept: known, how: 'already there' };
  } catch (error) {
    // It may have been sealed nevertheless: then it is protected, and stays.
    await images.delete(image.id).catch(() => undefined);
    throw error;
  }
}
