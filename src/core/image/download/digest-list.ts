import { CowherdError } from '../../errors.js';
import { excerpt } from '../../guest/text.js';
import { newestFirst, wildcardMatcher } from './file-names.js';

/** Lists of digests that distributions publish beside their images. */

export type Hash = 'sha256' | 'sha512';

export interface DigestList {
  hash: Hash;
  /** File names without a leading `./`, with every digest that the list gives them. */
  files: ReadonlyMap<string, readonly string[]>;
  /** The list is a single digest without a name: that of the file which it belongs to. */
  only?: string | undefined;
}

const maxCharacters = 4 * 1024 ** 2;
const digits = { sha256: 64, sha512: 128 } as const;

/**
 * Reads what sha256sum, sha512sum and their BSD counterparts write, also within a clear-signed message. Other lines and other digests
 * are ignored.
 * @throws BASE_REFUSED if it contains no such digest, is too long, or contains names that these tools escape
 */
export function parseDigestList(text: string, { hash }: { hash: Hash }): DigestList {
  const refuse = (what: string): never => {
    throw new CowherdError('BASE_REFUSED', `The list of digests ${what}`, {
      hint: 'Open the list in a browser and check it. To use a digest from another source, give it yourself.',
    });
  };
  if (text.length > maxCharacters) refuse('is longer than 4 MiB');
  const length = digits[hash];
  const hex = `([0-9A-Fa-f]{${length}})`;
  const gnu = new RegExp(`^(\\\\?)${hex} [ *](.+)$`);
  const bsd = new RegExp(`^(\\\\?)${hash.toUpperCase()} ?\\((.+)\\) ?= ?${hex}$`, 'i');
  const bare = new RegExp(`^${hex}$`);
  const files = new Map<string, string[]>();
  const alone: string[] = [];
  let others = 0;
  for (const line of contentLines(text)) {
    const [, gnuEscape, gnuDigest, gnuName] = gnu.exec(line) ?? [];
    const [, bsdEscape, bsdName, bsdDigest] = bsd.exec(line) ?? [];
    const [digest, name] = [gnuDigest ?? bsdDigest, gnuName ?? bsdName];
    if (gnuEscape || bsdEscape) refuse('contains an escaped file name');
    const lone = bare.exec(line)?.[1];
    if (digest !== undefined && name !== undefined) {
      const key = name.replace(/^\.\//, '');
      const known = files.get(key);
      if (known === undefined) files.set(key, [digest.toLowerCase()]);
      else if (!known.includes(digest.toLowerCase())) known.push(digest.toLowerCase());
    } else if (lone !== undefined) alone.push(lone.toLowerCase());
    else others += 1;
  }
  const only = files.size === 0 && others === 0 && alone.length === 1 ? alone[0] : undefined;
  if (files.size === 0 && only === undefined) refuse(`contains no ${hash} digest`);
  return { hash, files, only };
}

/**
 * @param fileName without directories
 * @returns undefined if the list does not contain it
 * @throws BASE_REFUSED if it has two digests
 */
export function digestFor({ files, only, hash }: DigestList, fileName: string): string | undefined {
  const [digest, other] = files.get(fileName) ?? [];
  if (other !== undefined) {
    throw new CowherdError('BASE_REFUSED', `The list contains two ${hash} digests of ${excerpt(fileName)}: ${digest} and ${other}`, {
      hint: 'Open the list in a browser and check it. To use one of the digests, give it yourself.',
    });
  }
  return digest ?? only;
}

/**
 * The newest file of a list, by the numbers in its name.
 * @param pattern a file name; `*` matches any characters within a name
 * @throws BASE_REFUSED if that file has two digests
 */
export function newestMatch(list: DigestList, pattern: string): { fileName: string; digest: string } | undefined {
  const matches = wildcardMatcher(pattern);
  const [fileName] = [...list.files.keys()].filter((name) => !name.includes('/') && matches(name)).sort(newestFirst);
  const digest = fileName === undefined ? undefined : digestFor(list, fileName);
  return fileName === undefined || digest === undefined ? undefined : { fileName, digest };
}

/** Lines with content: without comments, empty lines, and what surrounds the text of a clear-signed message (RFC 9580, chapter 7). */
function contentLines(text: string): string[] {
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  const begin = lines.indexOf('-----BEGIN PGP SIGNED MESSAGE-----');
  const signed = begin < 0 ? lines : signedLines(lines.slice(begin + 1));
  return signed.map((line) => line.trimEnd()).filter((line) => line !== '' && !line.startsWith('#'));
}

function signedLines(lines: readonly string[]): string[] {
  const first = lines.findIndex((line) => line.trim() === '') + 1;
  const end = lines.indexOf('-----BEGIN PGP SIGNATURE-----');
  return lines.slice(first, end < 0 ? undefined : end).map((line) => line.replace(/^- /, ''));
}
