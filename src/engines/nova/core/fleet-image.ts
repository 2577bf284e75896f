import { CowherdError } from '../../../core/errors.js';
import type { BaseRef } from '../../../core/fleet/record.js';
import { baseNameFromFile, namePattern } from '../../../core/names.js';
import type { Image } from './images.js';

/** An image of the Image service as the base image of a fleet. */

/** Tag of images that cowherd uploaded or created. */
export const baseTag = 'cowherd';

/**
 * Name and digest of an image. The digest is the first 64 digits of the hash that the Image service computed of its file (sha512), so
 * that images that cowherd did not upload have one, too.
 * @throws BASE_REFUSED if the service has no hash of it
 */
export function baseRefOf(image: Pick<Image, 'id' | 'name' | 'hash'>): BaseRef {
  const { hash } = image;
  if (hash === undefined || !/^[0-9a-f]{64,}$/.test(hash.value)) {
    throw new CowherdError('BASE_REFUSED', `Image ${image.name} (${image.id}) has no hash, so changes of it cannot be noticed`, {
      hint: 'Upload its file again: cowherd base add FILE. An image that was created from a volume has no file.',
    });
  }
  return { name: baseNameOf(image), digest: hash.value.slice(0, 64) };
}

/** Names of images may have any characters; names of base images are short and plain. */
export function baseNameOf({ id, name }: Pick<Image, 'id' | 'name'>): string {
  if (namePattern.test(name)) return name;
  return baseNameFromFile(`${name}.img`) ?? `image-${id.slice(0, 8)}`;
}

/** Whether cowherd uploaded or created the image, so that it may change and remove it. */
export function isOwnImage({ tags, properties }: Pick<Image, 'tags' | 'properties'>): boolean {
  // An image of a server inherits the properties of the server's image, but not its tags.
  return tags.includes(baseTag) && properties['cowherd:base'] !== undefined;
}
