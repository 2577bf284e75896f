import { CowherdError, reportOf } from '../../../core/errors.js';
import { excerpt } from '../../../core/guest/text.js';
import { formatBaseRef } from '../../../core/image/base.js';
import { type HygieneWarning, hygieneWarnings } from '../../../core/image/hygiene.js';
import { listedContents, listedDefaults } from '../../../core/image/listed-contents.js';
import type { BaseListing } from '../../../services/base/bases.js';
import type { VerifiedBase } from '../../../services/base/verify.js';
import type { AddedBase, EngineBases } from '../../../services/engine/engine.js';
import type { WorkOptions } from '../../../services/fleet/access.js';
import type { NovaContext } from '../context.js';
import { baseNameOf, baseRefOf } from '../core/fleet-image.js';
import { imageMark, problemsOf, promotedFrom } from '../core/image-marks.js';
import { byAge } from '../core/image-ref.js';
import type { Image } from '../core/images.js';
import type { ExaminedFile, FileRequest } from './examine-file.js';
import { lookUpImage, ownership, ownImages } from './find-image.js';
import { type ImageUsers, imageUsers } from './image-users.js';
import { importImage } from './import-file.js';
import { pruneImages, removeImage } from './remove-image.js';

/** Images of the cloud as base images. */
export function novaBases(context: NovaContext): EngineBases {
  return {
    list: () => listImages(context),
    add: (request, work) => addImage(context, request, work),
    inspect: (ref) => inspectImage(context, ref),
    verify: (ref, work) => verifyImage(context, ref, work),
    remove: (ref, work) => removeImage(context, ref, work),
    prune: (options) => pruneImages(context, options),
  };
}

/** Images of cowherd, and other images that fleets use. */
async function listImages(context: NovaContext): ReturnType<EngineBases['list']> {
  const [own, users] = [await ownImages(context), await imageUsers(context, { everyServer: false })];
  const images = new Map(own.map((image) => [image.id, image]));
  const damaged = [...users.unreadable];
  for (const [id, fleets] of users.fleets) {
    if (images.has(id)) continue;
    const image = await context.cloud.images.get(id);
    if (image !== undefined) images.set(id, image);
    else damaged.push({ path: `glance:${id}`, reason: `it is missing, but in use by ${[...fleets].sort().join(', ')}` });
  }
  const isOwn = await ownership(context);
  const bases: BaseListing[] = [];
  for (const image of [...images.values()].sort((a, b) => baseNameOf(a).localeCompare(baseNameOf(b)) || byAge(a, b))) {
    try {
      bases.push(listingOf(image, users, isOwn(image)));
    } catch (error) {
      // Not uploaded to its end, or hashed in another way.
      damaged.push({ path: `glance:${image.id}`, reason: `status ${excerpt(image.status)}: ${reportOf(error).message}` });
    }
  }
  return { bases, damaged };
}

/** @throws BASE_REFUSED if the service has no hash of it */
export function listingOf(image: Image, users: Pick<ImageUsers, 'fleets' | 'recorded'>, isOwn: boolean): BaseListing {
  const ref = baseRefOf(image);
  return {
    name: ref.name,
    ref: formatBaseRef(ref),
    digest: ref.digest,
    hash: 'sha512',
    format: excerpt(image.format ?? 'unknown'),
    virtualBytes: virtualBytesOf(image),
    allocatedBytes: image.bytes ?? 0,
    importedAt: excerpt(image.created),
    path: `glance:${excerpt(image.id)}`,
    depth: 1,
    layers: [],
    promotedFrom: (isOwn ? promotedFrom(image) : undefined) ?? null,
    memory: null,
    pulled: null,
    prepared: null,
    // Nothing is known of the files in it without a download.
    contents: listedContents(),
    defaults: listedDefaults(),
    fleets: [...(users.fleets.get(image.id) ?? [])].sort(),
    problems: problemsOf(image, isOwn, users.recorded.get(image.id)),
  };
}

/** Older clouds do not report the size of the guest's disk: then it is what the disk of a flavor must have. */
function virtualBytesOf({ virtualBytes, format, bytes = 0, minDiskGiB }: Image): number {
  return virtualBytes ?? (format === 'raw' ? bytes : minDiskGiB * 1024 ** 3);
}

async function addImage(context: NovaContext, request: FileRequest, work: WorkOptions): Promise<AddedBase> {
  const { image, how, warning, examined } = await importImage(context, request, work);
  // The upload succeeded: it does not fail because the users of the image cannot be listed.
  const users = await imageUsers(context, { everyServer: false }).catch(() => ({ fleets: new Map(), recorded: new Map() }));
  return {
    ...listingOf(image, users, true),
    how,
    ...(warning === undefined ? {} : { warning }),
    generalisation: await warningsOf(context, examined),
  };
}

async function warningsOf({ ports }: NovaContext, { file, format }: ExaminedFile): Promise<HygieneWarning[]> {
  const facts = await ports.inspectGuestFiles(file.path, format);
  return facts === undefined ? [] : hygieneWarnings(facts);
}

async function inspectImage(context: NovaContext, ref: string): ReturnType<EngineBases['inspect']> {
  const image = await lookUpImage(context, ref);
  const isOwn = (await ownership(context))(image);
  const promotion = isOwn ? promotedFrom(image) : undefined;
  const source = promotion === undefined ? (isOwn ? 'a file, by cowherd base add' : `an image of ${context.title}`) : promotion.member;
  const users = await imageUsers(context, { everyServer: false });
  // Nothing is known of the files in it without a download.
  return { ...listingOf(image, users, isOwn), source, generalisation: [] };
}

/**
 * Compares the hash that the Image service keeps with the records of fleets and with the hash at the image's completion. The content
 * itself is in the hands of the cloud.
 * @throws BASE_CHANGED if it differs or the image cannot be used
 */
async function verifyImage(context: NovaContext, ref: string, { signal }: WorkOptions): Promise<VerifiedBase> {
  const image = await lookUpImage(context, ref, { signal });
  const isOwn = (await ownership(context, { signal }))(image);
  const users = await imageUsers(context, { everyServer: false, signal });
  const { name, digest, path } = listingOf(image, users, isOwn);
  const recorded = users.recorded.get(image.id) ?? new Map<string, string>();
  const problems = problemsOf({ ...image, isProtected: true }, isOwn, recorded);
  if (problems.length > 0) {
    throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef({ name, digest })} has changed: ${problems.join(', ')}`, {
      details: [
        path,
        `hash of the Image service  ${image.hash?.value}`,
        ...(isOwn && image.properties[imageMark.hash] !== undefined
          ? [`hash at its completion     ${excerpt(image.properties[imageMark.hash])}`]
          : []),
        ...[...recorded].map(([fleet, known]) => `record of ${fleet}: ${known}`),
      ],
      hint: `Upload the original file again, and move the fleets to it: cowherd base add FILE --name ${name}; cowherd rebase FLEET --base ${name}`,
    });
  }
  const notes = [
    'only the hash that the Image service keeps was compared, not the content',
    ...(isOwn && !image.isProtected ? [`it is not protected: openstack image set --protected ${image.id}`] : []),
  ];
  return { name, digest, hash: 'sha512', path, layers: [], warning: notes.join('; ') };
}
