import { CowherdError } from '../../../core/errors.js';
import type { BaseRef } from '../../../core/fleet/record.js';
import { excerpt } from '../../../core/guest/text.js';
import { isBaseRef } from '../../../core/image/base.js';
import { isUrl } from '../../../core/image/content.js';
import type { ImportResult } from '../../../ports/bases.js';
import type { WorkOptions } from '../../../services/fleet/access.js';
import type { NovaContext } from '../context.js';
import { baseNameOf, baseTag } from '../core/fleet-image.js';
import { imageMark, isUsable } from '../core/image-marks.js';
import { byAge, preferred } from '../core/image-ref.js';
import type { Image } from '../core/images.js';
import { type ExaminedFile, examineFile, type FileRequest, hashOf } from './examine-file.js';
import { findImage, ownImages } from './find-image.js';

/** Image files of this host as images of the cloud: uploaded once, and protected. */

export interface Imported {
  image: Image;
  how: ImportResult['how'];
  warning?: string;
  examined: ExaminedFile;
}

/** @throws FILE_NOT_FOUND, BASE_REFUSED, BAD_USAGE, IMAGE_CHANGED, and like every call of the cloud */
export async function importFile(context: NovaContext, request: FileRequest, work: WorkOptions): Promise<Image> {
  return (await importImage(context, request, work)).image;
}

/** As {@link importFile}, with what was done. */
export async function importImage(context: NovaContext, request: FileRequest, work: WorkOptions): Promise<Imported> {
  const examined = await examineFile(context, request);
  const warning = examined.warning === undefined ? {} : { warning: examined.warning };
  const known = await knownImage(context, examined, work);
  if (known !== undefined) return { image: await sealed(context, known, work), how: 'already there', examined, ...warning };
  const image = await upload(context, examined, work);
  const kept = await keepOne(context, image, examined.name, work);
  return { image: await sealed(context, kept, work), how: kept.id === image.id ? 'copied' : 'already there', examined, ...warning };
}

/**
 * What {@link importImage} would do, without a change. It reads the whole file.
 * @returns the image that is already there, if there is one
 */
export async function previewFile(
  context: NovaContext,
  request: FileRequest,
  work: WorkOptions,
): Promise<{ base: BaseRef; image: Image | undefined; examined: ExaminedFile }> {
  const examined = await examineFile(context, request);
  const sha512 = await hashOf(examined.file, work);
  const image = preferred(sameImages(await ownImages(context, work), examined.name, sha512));
  return { base: { name: examined.name, digest: sha512.slice(0, 64) }, image, examined };
}

/**
 * The value of `--base`, with what it means: a file of this host, or else an image of the cloud. Names of images may look like those of
 * files: they have dots and spaces.
 * @throws BASE_NOT_FOUND, FILE_NOT_FOUND, BAD_USAGE
 */
export async function findBase(
  context: NovaContext,
  base: string,
  work: WorkOptions,
): Promise<{ kind: 'file' } | { kind: 'image'; image: Image }> {
  if (isBaseRef(base)) return { kind: 'image', image: await findImage(context, base, work) };
  if (isUrl(base) || (await context.ports.files.kind(base)) !== 'missing') return { kind: 'file' };
  try {
    return { kind: 'image', image: await findImage(context, base, work) };
  } catch (error) {
    if (!(error instanceof CowherdError) || error.code !== 'BASE_NOT_FOUND') throw error;
    throw new CowherdError('FILE_NOT_FOUND', `There is no file ${base}, and ${context.title} has no image of that name`, {
      hint: 'Check the path; or use an image of the cloud: "cowherd base list" shows the base images, "openstack image list" all.',
      cause: error,
    });
  }
}

/** The image with this name and content, if there is one. The file is only hashed if an image has its size. */
async function knownImage(context: NovaContext, { file, name }: ExaminedFile, work: WorkOptions): Promise<Image | undefined> {
  const candidates = (await ownImages(context, work)).filter((image) => image.bytes === file.bytes && baseNameOf(image) === name);
  return candidates.some(isUsable) ? preferred(sameImages(candidates, name, await hashOf(file, work))) : undefined;
}

function sameImages(images: readonly Image[], name: string, sha512: string): Image[] {
  return images.filter((image) => isUsable(image) && baseNameOf(image) === name && image.hash?.value === sha512);
}

async function upload({ cloud }: NovaContext, examined: ExaminedFile, { signal, onProgress }: WorkOptions): Promise<Image> {
  const { file, name, format, virtualBytes } = examined;
  const image = await cloud.upload(
    {
      ...{ name, format, tags: [baseTag], properties: { [imageMark.base]: name } },
      // Flavors with a smaller disk are then refused when a server is created, and not when its host copies the image.
      minDiskGiB: Math.ceil(virtualBytes / 1024 ** 3),
    },
    file,
    {
      signal,
      onProgress: (doneBytes) => onProgress?.({ kind: 'bytes', what: `uploading ${file.path}`, doneBytes, totalBytes: file.bytes }),
    },
  );
  try {
    await file.assertUnchanged('uploaded');
    return image;
  } catch (error) {
    await cloud.images.delete(image.id).catch(() => undefined);
    throw error;
  }
}

/**
 * Another run may have uploaded the same file at the same time. One that is protected stays, because it may be in use, otherwise the
 * oldest one: every run decides so. @returns the image that stays
 */
async function keepOne({ cloud, ...context }: NovaContext, image: Image, name: string, work: WorkOptions): Promise<Image> {
  const listed = await ownImages({ cloud, ...context }, work);
  const others = sameImages(listed, name, image.hash?.value ?? '').filter(({ id }) => id !== image.id);
  const sealedOne = preferred(others.filter(({ isProtected }) => isProtected));
  const kept = sealedOne ?? [image, ...others].sort(byAge)[0] ?? image;
  if (kept.id === image.id) return image;
  const users = await cloud.servers.list([], { imageId: image.id, signal: work.signal });
  if (users.length > 0) return image;
  await cloud.images.delete(image.id, work);
  return kept;
}

/** The protection is the seal: nobody can remove or replace the image by mistake. @returns the image, protected */
export async function sealed({ cloud }: Pick<NovaContext, 'cloud'>, image: Image, { signal }: Pick<WorkOptions, 'signal'>): Promise<Image> {
  if (image.isProtected && image.properties[imageMark.hash] === image.hash?.value) return image;
  if (image.hash === undefined) {
    throw new CowherdError(
      'BASE_REFUSED',
      `Image ${excerpt(image.name)} (${image.id}) has no hash, so changes of it could not be noticed`,
      {
        hint: 'The Image service of this cloud does not hash images. Ask its operator to enable hashes (hashing_algorithm).',
      },
    );
  }
  return cloud.images.finish(image.id, { tags: image.tags, properties: { [imageMark.hash]: image.hash.value } }, { signal });
}
