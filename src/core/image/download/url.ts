import { CowherdError } from '../../errors.js';
import { escapeUnsafe } from '../../guest/text.js';

/** Addresses of downloads: what may be requested, and how they are shown. A password is never shown. */

export interface Address {
  /** Without user, password and fragment. */
  url: URL;
  /** `user:password` of the given URL, decoded. */
  credentials?: string | undefined;
}

/** @throws BAD_USAGE if it is not an http or https URL */
export function parseAddress(text: string): Address {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !isHttp(url)) {
    throw new CowherdError('BAD_USAGE', `${shownText(text)} is not an http or https URL`, {
      hint: 'Write the whole address of the file, for example https://example.org/image.qcow2',
    });
  }
  const { username, password } = url;
  const credentials = username === '' && password === '' ? undefined : `${decoded(username)}:${decoded(password)}`;
  return { url: plain(url), credentials };
}

/** The URL without user and password: for messages and records. */
export function shownUrl(url: URL | string): string {
  if (typeof url === 'string' && !URL.canParse(url)) return shownText(url);
  return escapeUnsafe(plain(new URL(url)).href);
}

/**
 * The address that a redirect leads to.
 * @param location as the server sent it
 * @returns a reason to refuse it, as the end of a sentence
 */
export function redirectTarget(from: URL, location: string): URL | string {
  if (!URL.canParse(location, from.href)) return 'the server redirects to an invalid address';
  const to = new URL(location, from);
  if (!isHttp(to)) return `the server redirects to ${escapeUnsafe(to.protocol)}, which is not http or https`;
  if (from.protocol === 'https:' && to.protocol === 'http:') return `the server redirects from https to http: ${shownUrl(to)}`;
  return plain(to);
}

/** The last component of the path, decoded; empty if there is none. */
export function fileNameOf(url: URL | string): string {
  return decoded(new URL(url).pathname.split('/').at(-1) ?? '');
}

function isHttp({ protocol, hostname }: URL): boolean {
  return (protocol === 'http:' || protocol === 'https:') && hostname !== '';
}

function plain(url: URL): URL {
  const copy = new URL(url);
  copy.username = '';
  copy.password = '';
  copy.hash = '';
  return copy;
}

/** A text that cannot be parsed may contain a password, too. */
function shownText(text: string): string {
  return escapeUnsafe(text.slice(0, 300).replace(/\/\/[^/]*@/, '//'));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
