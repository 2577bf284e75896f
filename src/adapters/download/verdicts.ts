import prettyBytes from 'pretty-bytes';
import { CowherdError, fullDiskHint } from '../../core/errors.js';
import { isHtml } from '../../core/image/content.js';
import { fileNameOf, shownUrl } from '../../core/image/download/url.js';
import { shellWord } from '../../core/quoting.js';
import type { Digests } from './part-file.js';

/** Refusals of what a server sends. */

export function bytesText(count: number): string {
  return prettyBytes(count, { binary: true });
}

export function webPage(url: URL): CowherdError {
  return new CowherdError('BASE_REFUSED', `${shownUrl(url)} is a web page, not an image`, {
    hint: 'Open it in a browser: it may lead to the image, or ask for a login. Then use the direct link to the image.',
  });
}

/** @throws BASE_REFUSED */
export function assertNoPage(url: URL, contentType: string | undefined, head: Buffer): void {
  if (/^\s*text\/html\b/i.test(contentType ?? '') || isHtml(head)) throw webPage(url);
}

export function emptyFile(url: URL): CowherdError {
  return new CowherdError('BASE_REFUSED', `${shownUrl(url)} is empty`, {
    hint: 'Check the URL. The upload of the file to this server may have failed: use another server.',
  });
}

/** @throws BASE_REFUSED */
export function assertSize(url: URL, bytes: number, maxBytes: number, isTotal: boolean): void {
  if (bytes <= maxBytes) return;
  const size = isTotal ? `has ${bytesText(bytes)}` : 'is larger';
  const name = shellWord(fileNameOf(url).replace(/^[-.]+/, '') || 'golden.qcow2');
  throw new CowherdError('BASE_REFUSED', `${shownUrl(url)} ${size}: at most ${bytesText(maxBytes)} are allowed`, {
    hint: `If it is the right file, download and add it yourself: curl -fL -o ${name} ${shellWord(shownUrl(url))} && cowherd base add ${name}`,
  });
}

/** @throws PREFLIGHT_FAILED */
export function assertSpace(url: URL, needed: number, free: number, directory: string): void {
  if (needed <= free) return;
  throw new CowherdError(
    'PREFLIGHT_FAILED',
    `The download of ${shownUrl(url)} needs ${bytesText(needed)}, but ${directory} has only ${bytesText(free)} free`,
    { hint: 'Free some space: "cowherd base prune" lists unused base images, "cowherd report" shows the use of the store.' },
  );
}

export function fullDisk(url: URL, directory: string, cause: unknown): CowherdError {
  return new CowherdError('PREFLIGHT_FAILED', `The disk of ${directory} became full while ${shownUrl(url)} was downloaded`, {
    hint: fullDiskHint,
    cause,
  });
}

export type Expected = { sha256?: string | undefined; sha512?: string | undefined };

/** @returns the first digest that differs */
export function mismatch(found: Digests, expected: Expected): { hash: string; found: string; expected: string } | undefined {
  for (const hash of ['sha256', 'sha512'] as const) {
    const [is, wanted] = [found[hash], expected[hash]?.toLowerCase()];
    if (wanted !== undefined && is !== undefined && is !== wanted) return { hash, found: is, expected: wanted };
  }
  return undefined;
}

export function wrongDigest(url: URL, { hash, found, expected }: NonNullable<ReturnType<typeof mismatch>>): CowherdError {
  return new CowherdError('BASE_REFUSED', `${shownUrl(url)} has the ${hash} ${found}, but ${expected} was expected`, {
    hint: 'The file was changed or damaged, or the digest is that of another file. Run the command again; if it fails again, compare both with the page that offers the image.',
  });
}
