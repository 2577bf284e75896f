import pLimit from 'p-limit';
import type { Architecture, CatalogFile, CatalogImage } from '../src/core/image/catalog.js';
import { architecturesOf } from '../src/core/image/catalogs.js';
import { type DigestList, type Hash, parseDigestList } from '../src/core/image/download/digest-list.js';
import { listedFile } from '../src/core/image/download/listed-file.js';
import { fileNameOf } from '../src/core/image/download/url.js';

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
      const row = { image: image.name, architecture, file: fileNameOf(file.url) };
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
  if (list === undefined) return fileNameOf(url);
  const text = await readList(list.url);
  if (list.signature === 'inline' && !text.includes('-----BEGIN PGP SIGNED MESSAGE-----')) throw new Error(`${list.url} is not signed`);
  const listed = listedFile(parsed(text, list), url, list.url);
  if (listed === undefined) throw new Error(`${list.url} has no ${list.hash} of ${fileNameOf(url)}`);
  return listed.fileName;
}

function parsed(text: string, { url, hash }: { url: string; hash: Hash }): DigestList {
  try {
    return parseDigestList(text, { hash });
  } catch (error) {
    throw new Error(`${url}: ${error instanceof Error ? error.message : String(error)}`);
  }
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
