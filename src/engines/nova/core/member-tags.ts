/**
 * How a server says to which fleet it belongs. Tags can be searched, but have up to 60 characters without commas and slashes; metadata
 * has up to 255. So tags hold hashes to search by, and metadata holds what the hashes are made from.
 */
import { createHash } from 'node:crypto';
import type { Server } from './servers.js';

export interface MemberMark {
  /** Name of the fleet. */
  fleet: string;
  /** Id of the fleet, unlike that of any other fleet, also of an earlier one of the same name. */
  fleetId: string;
  /** From 1. */
  index: number;
  /** Hash of the image's content, hexadecimal. */
  digest: string;
}

/** On every server of every fleet. */
export const managedTag = 'cowherd';

/** On every member of a fleet of this name. Names may be longer than a tag, and contain any character. */
export function fleetTag(fleet: string): string {
  return `cowherd:fleet=${hash(fleet)}`;
}

/** On one server only. */
export function memberTag(fleetId: string, index: number): string {
  return `cowherd:member=${hash(fleetId)}-${index}`;
}

/** All tags of a member: the last one is its unique tag. */
export function tagsOf({ fleet, fleetId, index }: MemberMark): string[] {
  return [managedTag, fleetTag(fleet), memberTag(fleetId, index)];
}

export function metadataOf({ fleet, fleetId, index, digest }: MemberMark): Record<string, string> {
  return { 'cowherd:fleet': fleet, 'cowherd:id': fleetId, 'cowherd:index': String(index), 'cowherd:digest': digest };
}

/**
 * The mark of a server; undefined if it has none, or if its tags and metadata disagree: then it is not changed.
 */
export function markOf({ tags, metadata }: Pick<Server, 'tags' | 'metadata'>): MemberMark | undefined {
  const { 'cowherd:fleet': fleet, 'cowherd:id': fleetId, 'cowherd:index': text = '', 'cowherd:digest': digest = '' } = metadata;
  const index = /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined;
  if (fleet === undefined || fleetId === undefined || index === undefined) return undefined;
  const mark = { fleet, fleetId, index, digest };
  return tagsOf(mark).every((tag) => tags.includes(tag)) ? mark : undefined;
}

/** 24 characters. */
function hash(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex').slice(0, 24);
}
