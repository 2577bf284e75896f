import { baseNameOf } from './fleet-image.js';
import type { Image } from './images.js';

/** Which image a reference means: NAME, NAME@DIGEST, a digest of at least 12 digits, or the name of any image of the cloud. */
export type Meaning = { kind: 'one'; image: Image } | { kind: 'none' } | { kind: 'several'; images: Image[] };

/**
 * Images that cowherd created come first: of those with a name, the newest content counts, as on other engines. Names of other images
 * must be unambiguous.
 */
export function meaningOf(ref: string, images: readonly Image[], isOwn: (image: Image) => boolean): Meaning {
  const { name, digest } = parts(ref);
  if (digest !== undefined) {
    const hasDigest = (image: Image): boolean => image.hash?.value.startsWith(digest) === true;
    const found = images.filter((image) => hasDigest(image) && (name === undefined || baseNameOf(image) === name || image.name === name));
    const own = found.filter(isOwn);
    const meant = own.length > 0 ? sameContent(own) : distinct(found);
    if (meant.kind !== 'none') return meant;
  }
  const own = images.filter((image) => isOwn(image) && (baseNameOf(image) === ref || image.name === ref));
  const newest = [...own].sort(byAge).at(-1);
  if (newest !== undefined) return sameContent(own.filter((image) => image.hash?.value === newest.hash?.value));
  const others = images.filter((image) => !isOwn(image));
  const exact = others.filter((image) => image.name === ref);
  return distinct(exact.length > 0 ? exact : others.filter((image) => baseNameOf(image) === ref));
}

function parts(ref: string): { name?: string; digest?: string } {
  if (/^[0-9a-f]{12,128}$/.test(ref)) return { digest: ref };
  const [, name, digest] = /^(.+)@([0-9a-f]{6,128})$/.exec(ref) ?? [];
  return name === undefined || digest === undefined ? {} : { name, digest };
}

/** Runs at the same time may have uploaded the same file twice: every run chooses the same one of these images. */
function sameContent(images: readonly Image[]): Meaning {
  const contents = new Set(images.map(({ hash }) => hash?.value));
  const image = preferred(images);
  if (image === undefined) return { kind: 'none' };
  return contents.size > 1 ? { kind: 'several', images: [...images] } : { kind: 'one', image };
}

function distinct(images: readonly Image[]): Meaning {
  const [image, ...others] = images;
  if (image === undefined) return { kind: 'none' };
  return others.length > 0 ? { kind: 'several', images: [...images] } : { kind: 'one', image };
}

/** Of images with the same content: a protected one, and of these the oldest. */
export function preferred(images: readonly Image[]): Image | undefined {
  return [...images].sort((a, b) => Number(b.isProtected) - Number(a.isProtected) || byAge(a, b))[0];
}

/** The oldest first; equal times by id. */
export function byAge(a: Image, b: Image): number {
  return a.created === b.created ? (a.id < b.id ? -1 : 1) : a.created < b.created ? -1 : 1;
}
