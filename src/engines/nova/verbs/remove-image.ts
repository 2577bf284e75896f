import { CowherdError } from '../../../core/errors.js';
import { excerpt } from '../../../core/guest/text.js';
import { shellWord } from '../../../core/quoting.js';
import type { PruneOptions, PruneResult } from '../../../services/base/prune.js';
import type { WorkOptions } from '../../../services/fleet/access.js';
import type { CallOptions } from '../api/server-actions.js';
import type { NovaContext } from '../context.js';
import { hasStatus } from '../core/api-error.js';
import { baseNameOf } from '../core/fleet-image.js';
import { imageMark, isLeftover } from '../core/image-marks.js';
import { byAge } from '../core/image-ref.js';
import type { Image } from '../core/images.js';
import { lookUpImage, ownership, ownImages } from './find-image.js';
import { type ImageUsers, verifiedUsers } from './image-users.js';

type Context = Pick<NovaContext, 'cloud' | 'ports' | 'title'>;

/** Removes an image that cowherd uploaded or created. @param options.except a fleet that is being removed @throws BASE_IN_USE, BASE_NOT_FOUND, BASE_REFUSED, BAD_USAGE */
export async function removeImage(
  context: Context,
  ref: string,
  { signal, except }: Pick<WorkOptions, 'signal'> & { except?: string },
): Promise<{ name: string; digest: string; freedBytes: number }> {
  const image = await lookUpImage(context, ref, { signal });
  await assertOwn(context, image, signal);
  await assertOneMeant(context, image, ref, signal);
  assertUnused(image, await verifiedUsers(context, { signal }), except);
  await remove(context, image, signal);
  return { name: baseNameOf(image), digest: digestOf(image), freedBytes: image.bytes ?? 0 };
}

async function assertOwn(context: Context, image: Image, signal: AbortSignal | undefined): Promise<void> {
  if ((await ownership(context, { signal }))(image)) return;
  throw new CowherdError('BASE_REFUSED', `Image ${excerpt(image.name)} (${image.id}) was not created by cowherd in this project`, {
    hint: `To remove it nevertheless: openstack image delete ${shellWord(image.id)}`,
  });
}

/** @throws BAD_USAGE if a name alone has several imports */
async function assertOneMeant(context: Context, image: Image, ref: string, signal: AbortSignal | undefined): Promise<void> {
  const namesakes = (await ownImages(context, { signal }))
    .filter((other) => other.hash !== undefined && baseNameOf(other) === ref)
    .sort(byAge);
  if (namesakes.length < 2) return;
  throw new CowherdError('BAD_USAGE', `${ref} has ${namesakes.length} imports`, {
    details: namesakes.map((other) => `${other.id}: ${refOf(other)}, imported ${excerpt(other.created)}`),
    hint: `Name one by its id: cowherd base remove ${shellWord(namesakes[0]?.id ?? image.id)}`,
  });
}

/** @param except its servers are deleted: those that are left belong to another fleet of that name @throws BASE_IN_USE */
function assertUnused(image: Image, { fleets, members, servers }: ImageUsers, except?: string): void {
  const ref = refOf(image);
  const isUser = (fleet: string): boolean => fleet !== except || members.get(image.id)?.has(fleet) === true;
  const users = [...(fleets.get(image.id) ?? [])].filter(isUser).sort();
  if (users.length > 0) {
    throw new CowherdError('BASE_IN_USE', `Base image ${ref} is in use by ${users.join(', ')}`, {
      hint: `Their members cannot be reset without it. Rebase them first: ${users.map((fleet) => `cowherd rebase ${fleet} --base OTHER`).join('; ')}. Or remove them: ${users.map((fleet) => `cowherd teardown ${fleet}`).join('; ')}`,
    });
  }
  const strangers = servers.get(image.id) ?? [];
  if (strangers.length > 0) {
    throw new CowherdError('BASE_IN_USE', `Base image ${ref} is in use by the servers ${strangers.slice(0, 20).join(', ')}`, {
      hint: 'These servers belong to no fleet, and cannot be rebuilt without it. Delete them first, or rebuild them from another image.',
    });
  }
}

/**
 * Images that nothing uses, and leftovers of interrupted commands.
 * @throws BASE_IN_USE if that cannot be determined for all of them
 */
export async function pruneImages(context: Context, { remove: isRemoved, keepNewest = false, signal }: PruneOptions): Promise<PruneResult> {
  const own = await ownImages(context, { signal });
  const users = await verifiedUsers(context, { signal });
  const isUsed = ({ id }: Image): boolean => users.fleets.has(id) || users.servers.has(id);
  const left = (await leftoverImages(context, { signal })).filter((image) => !isUsed(image));
  const leftIds = new Set(left.map(({ id }) => id));
  const complete = own.filter((image) => !leftIds.has(image.id));
  const newest = new Map([...complete].sort(byAge).map((image) => [baseNameOf(image), image.id]));
  const isKept = (image: Image): boolean =>
    isUsed(image) ||
    // Still being uploaded.
    image.hash === undefined ||
    (keepNewest && newest.get(baseNameOf(image)) === image.id);
  const unused = [...complete.filter((image) => !isKept(image)), ...left].sort(
    (a, b) => baseNameOf(a).localeCompare(baseNameOf(b)) || byAge(a, b),
  );
  if (isRemoved) for (const image of unused) await remove(context, image, signal);
  return {
    dryRun: !isRemoved,
    images: unused.map((image) => ({
      ref: refOf(image),
      name: baseNameOf(image),
      digest: digestOf(image),
      importedAt: image.created,
      allocatedBytes: image.bytes ?? 0,
    })),
    freedBytes: unused.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0),
    kept: complete.filter(isKept).length,
  };
}

/**
 * Images that interrupted commands have left: uploads without an end, and images of members that were not sealed. Only those that are
 * too old to belong to a running command.
 */
export async function leftoverImages(context: Context, options: CallOptions = {}): Promise<Image[]> {
  const now = context.ports.clock.now().getTime();
  const property = { name: imageMark.state, value: 'creating' };
  // Without the tag: an image of a server gets it when it is complete.
  const promoted = await context.cloud.images.list({ property }, options);
  const project = await context.cloud.projectId(options.signal);
  const isForeign = ({ owner }: Image): boolean => project !== undefined && owner !== undefined && owner !== project;
  const all = new Map([...(await ownImages(context, options)), ...promoted].map((image) => [image.id, image]));
  return [...all.values()].filter((image) => isLeftover(image, now) && !isForeign(image));
}

/** Removes an image, although it is protected. If that fails, it is protected again. */
export async function remove({ cloud }: Pick<NovaContext, 'cloud'>, image: Image, signal: AbortSignal | undefined): Promise<void> {
  if (image.isProtected) await cloud.images.protect(image.id, false, { signal });
  try {
    await cloud.images.delete(image.id, { signal });
  } catch (error) {
    if (image.isProtected) await cloud.images.protect(image.id, true).catch(() => undefined);
    if (!hasStatus(error, 409)) throw error;
    throw new CowherdError('BASE_IN_USE', `The cloud says that image ${refOf(image)} (${image.id}) is in use`, {
      details: [error.message],
      hint: 'Some storages keep the disks of servers as clones of their image. Delete these servers first, or rebuild them from another image.',
      cause: error,
    });
  }
}

function digestOf({ hash }: Image): string {
  return hash?.value.slice(0, 64) ?? '';
}

/** NAME@DIGEST, or the id of an image that is not complete. */
function refOf(image: Image): string {
  return image.hash === undefined ? `glance:${image.id}` : `${baseNameOf(image)}@${image.hash.value.slice(0, 12)}`;
}
