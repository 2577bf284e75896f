import pLimit from 'p-limit';
import type { Architecture, CatalogFile, CatalogImage } from '../src/core/image/catalog.js';
import { architecturesOf } from '../src/core/image/catalogs.js';

/** Compares the addresses of a catalog with the servers: nothing is downloaded except the lists of digests. */

export interface CheckedFile {
  image: string;
  architecture: Architecture;
  /** The name of the file, with its `*` resolved. */
  file: string;
  /** Undefined if everything is there. */
  problem?: string;
}

export interface ProbeOptions {
  /** Requests at the same time (default 8). */
  concurrency?: number;
  /** Of one request (default 30 s). */
  timeoutMs?: number;
}

const maxListBytes = 4 * 1024 * 1024;
const hexDigits = { sha256: 64, sha512: 128 };

export async function checkImages(images: readonly CatalogImage[], options: ProbeOptions = {}): Promise<CheckedFile[]> {
  const limit = pLimit(options.concurrency ?? 8);
  const timeoutMs = options.timeoutMs ?? 30_000;
  const lists = new Map<string, Promise<string>>();
  // Images share lists.
  const readList = (url: string): Promise<string> => {
    const text = lists.get(url) ?? limit(() => textOf(url, timeoutMs));
    lists.set(url, text);
    return text;
  };
  const probe = (url: string): Promise<void> => limit(() => probeUrl(url, timeoutMs));
  const files = images.flatMap((image) => architecturesOf(image).map((architecture) => ({ image, architecture })));
  return Promise.all(
    files.map(async ({ image, architecture }): Promise<CheckedFile> => {
      const file = image.files[architecture] as CatalogFile;
      const row = { image: image.name, architecture, file: lastPart(file.url) };
      try {
        const name = await nameIn(file, readList);
        await probe(new URL(name, file.url).href);
        if (file.list?.signature !== undefined && file.list.signature !== 'inline') await probe(file.list.signature);
        return { ...row, file: name };
      } catch (error) {
        return { ...row, problem: error instanceof Error ? error.message : String(error) };
      }
    }),
  );
}

/** @returns the name of the file, which the list contains if there is one */
async function nameIn({ url, list }: CatalogFile, readList: (url: string) => Promise<string>): Promise<string> {
  const wanted = lastPart(url);
  if (list === undefined) return wanted;
  const text = await readList(list.url);
  if (list.signature === 'inline' && !text.includes('-----BEGIN PGP SIGNED MESSAGE-----')) throw new Error(`${list.url} is not signed`);
  const names = namesIn(text, hexDigits[list.hash]);
  // A file next to the image may have nothing but the digest, or the name of the image that a "latest" link leads to.
  if (!wanted.includes('*') && names.length === 1 && list.url.startsWith(`${url}.`)) return wanted;
  const [begin = '', end] = wanted.split('*');
  const matches = names.filter((name) =>
    end === undefined ? name === wanted : name.length >= begin.length + end.length && name.startsWith(begin) && name.endsWith(end),
  );
  const newest = matches.sort(new Intl.Collator('en', { numeric: true }).compare).at(-1);
  if (newest === undefined) throw new Error(`${list.url} has no ${list.hash} of ${wanted}`);
  return newest;
}

/** Names of the files in a list of sha256sum or shasum --tag; an empty one for a line with nothing but a digest. */
function namesIn(list: string, digits: number): string[] {
  return list.split('\n').flatMap((line) => {
    const [, tagged, taggedDigest] = /^SHA\d+ \((.+)\) = ([0-9a-f]+)\s*$/i.exec(line) ?? [];
    const [, plainDigest, plain] = /^([0-9a-f]+)(?:\s+[*]?(\S+))?\s*$/i.exec(line) ?? [];
    const digest = taggedDigest ?? plainDigest;
    if (digest?.length !== digits) return [];
    return [lastPart(tagged ?? plain ?? '')];
  });
}

/** Some servers refuse HEAD, so a byte is requested then. */
async function probeUrl(url: string, timeoutMs: number): Promise<void> {
  const head = await ask(url, { method: 'HEAD' }, timeoutMs);
  if (head.ok) return;
  if (![403, 405, 501].includes(head.status)) throw new Error(`${url}: ${head.status}`);
  const get = await ask(url, { headers: { range: 'bytes=0-0' } }, timeoutMs);
  await get.body?.cancel();
  if (!get.ok) throw new Error(`${url}: ${get.status}`);
}

async function textOf(url: string, timeoutMs: number): Promise<string> {
  const response = await ask(url, {}, timeoutMs);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > maxListBytes) throw new Error(`${url} is too large for a list`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

async function ask(url: string, init: RequestInit, timeoutMs: number): Promise<Response> {
  try {
    return await fetch(url, { ...init, headers: { 'user-agent': 'cowherd', ...init.headers }, signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new Error(`${url}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

function lastPart(url: string): string {
  return url.slice(url.lastIndexOf('/') + 1);
}
