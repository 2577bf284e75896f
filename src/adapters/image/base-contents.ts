import type { BaseRecord } from '../../core/image/base.js';
import { chooseDefaults } from '../../core/image/image-defaults.js';
import type { ImageDefaults } from '../../core/image/origin.js';
import type { ImageFile } from '../../ports/images.js';
import { inspectContents } from '../guest-files/contents.js';

/**
 * What the record of a base image says about what is in it, and the defaults that follow.
 * @param given defaults that are known by other means
 * @param image.backing the backing files of a layered image, nearest first
 */
export async function contentsOf(
  image: ImageFile & { backing?: readonly ImageFile[] },
  given: ImageDefaults = {},
): Promise<Pick<BaseRecord, 'contents' | 'defaults'>> {
  const contents = await inspectContents(image.path, image.format, { backing: image.backing ?? [] });
  return { contents, defaults: chooseDefaults(contents, given) };
}
