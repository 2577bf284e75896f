import { excerpt } from '../../../core/guest/text.js';
import { isOwnImage } from './fleet-image.js';
import type { Image } from './images.js';

/**
 * What cowherd writes into the properties of its images. An image of a server inherits the properties of the server's image: so they
 * mean something only together with the tag, except for `state`, which no complete image has as "creating".
 */
export const imageMark = {
  /** Name of the base image. */
  base: 'cowherd:base',
  /** sha512 that the Image service reported when the image was complete. */
  hash: 'cowherd:sha512',
  /** Of a promoted image: creating, later ready. */
  state: 'cowherd:state',
  /** Of a promoted image: unique, to find it after a lost reply. */
  request: 'cowherd:request',
  /** Of a promoted image: the member, and NAME@DIGEST of the base image it had. */
  fleet: 'cowherd:fleet',
  member: 'cowherd:member',
  parent: 'cowherd:parent',
} as const;

/** After this time in ms, an image that is not complete belongs to no running command. An upload may take hours. */
export const leftoverAfter = { idle: 3_600_000, transfer: 24 * 3_600_000 };

/** Whether an interrupted command has left it: an upload without its end, or an image of a member that was not sealed. */
export function isLeftover(image: Image, now: number): boolean {
  const isTransferred = image.status === 'saving' || image.status === 'uploading' || image.status === 'importing';
  const isIncomplete = isTransferred || image.status === 'queued' || image.status === 'killed';
  const isUpload = isOwnImage(image) && isIncomplete;
  const isPromotion = image.properties[imageMark.state] === 'creating';
  const age = now - Date.parse(image.created);
  return (isUpload || isPromotion) && age > (isTransferred ? leftoverAfter.transfer : leftoverAfter.idle);
}

/** Whether members can be created from it. */
export function isUsable({ status, properties }: Pick<Image, 'status' | 'properties'>): boolean {
  return status === 'active' && properties[imageMark.state] !== 'creating';
}

/**
 * What is wrong with an image, for display.
 * @param recorded digests that the records of fleets have of it, by fleet
 */
export function problemsOf(image: Image, isOwn: boolean, recorded: ReadonlyMap<string, string> = new Map()): string[] {
  const digest = image.hash?.value.slice(0, 64);
  const differing = [...recorded].filter(([, known]) => known !== digest).map(([fleet]) => fleet);
  const noted = isOwn ? image.properties[imageMark.hash] : undefined;
  return [
    ...(image.status === 'active' ? [] : [`it is ${excerpt(image.status)}`]),
    ...(isOwn && !image.isProtected ? ['it is not protected'] : []),
    ...(noted !== undefined && noted !== image.hash?.value ? ['its hash differs from the one at its completion'] : []),
    ...(differing.length === 0 ? [] : [`its hash differs from the record of ${differing.sort().join(', ')}`]),
  ];
}

/** The member whose disk was promoted; undefined for other images. */
export function promotedFrom({ properties }: Pick<Image, 'properties'>): { fleet: string; member: string; base: string } | undefined {
  const { [imageMark.fleet]: fleet, [imageMark.member]: member, [imageMark.parent]: parent } = properties;
  if (fleet === undefined || member === undefined || parent === undefined) return undefined;
  return { fleet: excerpt(fleet), member: excerpt(member), base: excerpt(parent).replace(/@([0-9a-f]{12})[0-9a-f]*$/, '@$1') };
}
