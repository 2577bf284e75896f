import { CowherdError } from '../../../core/errors.js';
import { parseDigestList } from '../../../core/image/download/digest-list.js';
import { listedFile } from '../../../core/image/download/listed-file.js';
import { fileNameOf, shownUrl } from '../../../core/image/download/url.js';
import type { Pulled } from '../../../core/image/origin.js';
import { parseDigest } from '../../../core/image/pull-source.js';
import type { Ports } from '../../../ports/index.js';
import type { PullOptions } from './options.js';
import type { DigestListSource, PullSource } from './source.js';

const maxListBytes = 4 * 1024 * 1024;
const maxSignatureBytes = 64 * 1024;

/** What the image must be, and what says so. */
export interface Expected {
  /** Without a `*`. */
  url: string;
  sha256?: string | undefined;
  sha512?: string | undefined;
  vouched: Pick<Pulled, 'verifiedBy' | 'list' | 'key'>;
  /** What vouches for the image, as a sentence. */
  told: string;
}

/**
 * Digests that the user gave, otherwise those of the distribution's list.
 * @throws BASE_REFUSED if the signature of the list is not valid, or it lacks the file; DOWNLOAD_FAILED, BAD_USAGE
 */
export async function expectedOf(
  ports: Pick<Ports, 'downloads'>,
  source: PullSource,
  { sha256, sha512, signal }: Pick<PullOptions, 'sha256' | 'sha512' | 'signal'>,
): Promise<Expected> {
  const given = { sha256: parseDigest('sha256', sha256), sha512: parseDigest('sha512', sha512) };
  const isGiven = given.sha256 !== undefined || given.sha512 !== undefined;
  const isPattern = fileNameOf(source.url).includes('*');
  if (isGiven && !isPattern)
    return { url: source.url, ...given, vouched: { verifiedBy: 'given digest' }, told: 'Verified by the digest that you gave.' };
  if (source.list === undefined) return { url: source.url, vouched: { verifiedBy: 'nothing' }, told: unvouched };
  const listed = await readList(ports, source.list, signal);
  const list = parseDigestList(listed.text, { hash: source.list.hash });
  const match = listedFile(list, source.url, source.list.url);
  const shown = shownUrl(source.list.url);
  if (match === undefined) {
    throw new CowherdError('BASE_REFUSED', `${shown} does not list ${fileNameOf(source.url)}`, {
      hint: 'The image may have been replaced by a newer one: check the directory in a browser. Or give its digest: --sha256 HEX',
    });
  }
  const url = isPattern ? new URL(encodeURIComponent(match.fileName), source.url).href : source.url;
  if (isGiven)
    return { url, ...given, vouched: { verifiedBy: 'given digest', list: shown }, told: 'Verified by the digest that you gave.' };
  const { signature } = listed;
  return {
    url,
    [source.list.hash]: match.digest,
    vouched: {
      verifiedBy: signature.verdict === 'good' ? 'signed list' : 'list',
      list: shown,
      ...(signature.verdict === 'good' ? { key: signature.key } : {}),
    },
    told:
      signature.verdict === 'good'
        ? `Verified by ${shown}, which is signed with the key ${signature.key}.`
        : `Verified by ${shown}. Its signature was not checked: ${signature.why}.`,
  };
}

const unvouched =
  'Nothing vouches for this image: no digest was given and no list of digests is known. Compare its sha256 with one from its publisher, and give it next time with --sha256, or the list with --checksums.';

type Listed = { url: string; text: string; signature: { verdict: 'good'; key: string } | { verdict: 'unknown'; why: string } };

async function readList(
  { downloads }: Pick<Ports, 'downloads'>,
  { url, signature, keyrings }: DigestListSource,
  signal: AbortSignal | undefined,
): Promise<Listed> {
  const list = await downloads.text({ url, maxBytes: maxListBytes, signal });
  const text = list.bytes.toString('utf8');
  if (signature === undefined) return { url: list.url, text, signature: { verdict: 'unknown', why: 'it is not signed' } };
  const separate =
    signature === 'inline' ? undefined : (await downloads.text({ url: signature, maxBytes: maxSignatureBytes, signal })).bytes;
  const checked = await downloads.checkSignature({ signed: list.bytes, signature: separate, keyrings });
  if (checked.verdict === 'good') return { url: list.url, text: checked.text, signature: checked };
  if (checked.verdict === 'unknown') return { url: list.url, text, signature: checked };
  throw new CowherdError('BASE_REFUSED', `The signature of ${shownUrl(url)} is not valid: ${checked.why}`, {
    details: keyrings.map((path) => `it is checked with the keys in ${path}`),
    hint: 'Do not use images of this server before you know the reason. If its publisher has a new key, update the package with the keys. To use a digest that you know: --sha256 HEX',
  });
}
