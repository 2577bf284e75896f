import { CowherdError } from '../../../core/errors.js';
import { excerpt } from '../../../core/guest/text.js';
import { maxLength } from '../../../core/limits.js';
import type { CallOptions } from '../api/server-actions.js';
import type { NovaContext } from '../context.js';
import { baseTag, isOwnImage } from '../core/fleet-image.js';
import { isUsable } from '../core/image-marks.js';
import { meaningOf } from '../core/image-ref.js';
import type { Image } from '../core/images.js';

type Context = Pick<NovaContext, 'cloud' | 'title'>;

/**
 * An image that members can be created from: of cowherd, or any image that the project can use.
 * @param ref NAME, NAME@DIGEST, a digest, or the name or id of any image
 * @throws BASE_NOT_FOUND; BAD_USAGE if several images have the name; BASE_REFUSED if it is not complete
 */
export async function findImage(context: Context, ref: string, options: CallOptions = {}): Promise<Image> {
  const usable = await search(context, ref, isUsable, options);
  if (usable !== undefined) return usable;
  const image = await search(context, ref, () => true, options);
  if (image === undefined) throw notFound(context, ref);
  throw new CowherdError('BASE_REFUSED', `Image ${excerpt(image.name)} (${image.id}) cannot be used: it is not complete`, {
    details: [`status ${excerpt(image.status)}, created ${excerpt(image.created)}`],
    hint: 'If it is being uploaded or promoted, wait until that has ended. "cowherd base prune" lists what interrupted commands have left.',
  });
}

/** As {@link findImage}, whatever the state of the image. @throws BASE_NOT_FOUND, BAD_USAGE */
export async function lookUpImage(context: Context, ref: string, options: CallOptions = {}): Promise<Image> {
  const image = (await search(context, ref, isUsable, options)) ?? (await search(context, ref, () => true, options));
  if (image === undefined) throw notFound(context, ref);
  return image;
}

/** Whether an image belongs to cowherd in this project. Images that other projects share may have the same tag. */
export async function ownership({ cloud }: Context, { signal }: CallOptions = {}): Promise<(image: Image) => boolean> {
  const project = await cloud.projectId(signal);
  return (image) => isOwnImage(image) && (project === undefined || image.owner === undefined || image.owner === project);
}

/** The images that cowherd uploaded or created in this project, complete or not. */
export async function ownImages(context: Context, options: CallOptions = {}): Promise<Image[]> {
  const isOwn = await ownership(context, options);
  return (await context.cloud.images.list({ tags: [baseTag] }, options)).filter(isOwn);
}

async function search(
  context: Context,
  ref: string,
  isWanted: (image: Image) => boolean,
  options: CallOptions,
): Promise<Image | undefined> {
  if (ref === '' || ref.length > maxLength.placement) return undefined;
  const { images } = context.cloud;
  const byId = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(ref) ? await images.get(ref, options) : undefined;
  if (byId !== undefined) return isWanted(byId) ? byId : undefined;
  const isOwn = await ownership(context, options);
  // A cloud may have many images: usually the first list is enough.
  for (const filter of [{ tags: [baseTag] }, { name: ref }, {}]) {
    const listed = (await images.list(filter, options)).filter(isWanted);
    const meaning = meaningOf(ref, 'tags' in filter ? listed.filter(isOwn) : listed, isOwn);
    if (meaning.kind === 'one') return meaning.image;
    if (meaning.kind === 'several') throw ambiguous(ref, meaning.images);
  }
  return undefined;
}

function ambiguous(ref: string, images: readonly Image[]): CowherdError {
  return new CowherdError('BAD_USAGE', `${images.length} images are named ${excerpt(ref)}`, {
    details: images.slice(0, 20).map(({ id, name, created }) => `${id}: ${excerpt(name)}, created ${excerpt(created)}`),
    hint: `Use the id of one of them, e.g. ${images[0]?.id}`,
  });
}

function notFound({ title }: Context, ref: string): CowherdError {
  return new CowherdError('BASE_NOT_FOUND', `There is no image ${excerpt(ref)} in ${title}`, {
    hint: '"cowherd base list" shows the base images, "openstack image list" all images of the cloud. To upload a file: cowherd base add FILE.',
  });
}
