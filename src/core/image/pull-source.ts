import { CowherdError } from '../errors.js';
import { importName } from '../names.js';
import { isUrl } from './content.js';
import { fileNameOf, parseAddress } from './download/url.js';

/** What the user names: a URL, or a name of the catalog. */

/** Endings that say how a file is packed, and not what it is called. */
const packing = /\.(xz|gz|zst|bz2|tar|tgz|txz|tbz2?|ova|box)$/i;

/** @returns the URL; undefined if the text is no URL, and so a name of the catalog. @throws BAD_USAGE */
export function urlOf(text: string): string | undefined {
  if (!isUrl(text)) return undefined;
  parseAddress(text);
  return text;
}

/** Name of the base image for a URL. @throws BAD_USAGE if it has none */
export function nameOfUrl(url: string, given: string | undefined): string {
  let file = fileNameOf(url);
  while (packing.test(file)) file = file.replace(packing, '');
  // importName removes one more ending; without one, a version would be taken for it.
  if (given === undefined && !/\.(qcow2|img|raw|vmdk|vhd|vhdx|vdi)$/i.test(file)) file = `${file}.img`;
  return importName(file === '.img' ? '' : file, given);
}

/** What a list has, by its name: that of an image may contain any number, such as a date. */
export function hashOfList(url: string): 'sha256' | 'sha512' {
  return /sha-?512/i.test(fileNameOf(url)) ? 'sha512' : 'sha256';
}

/** @throws BAD_USAGE */
export function parseDigest(kind: 'sha256' | 'sha512', text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const digest = text
    .trim()
    .toLowerCase()
    .replace(new RegExp(`^${kind}:`), '');
  const digits = kind === 'sha256' ? 64 : 128;
  if (digest.length === digits && /^[0-9a-f]+$/.test(digest)) return digest;
  throw new CowherdError('BAD_USAGE', `The value of --${kind} is not a ${kind} digest`, {
    hint: `A ${kind} digest has ${digits} hexadecimal digits; "${kind}sum FILE" prints it.`,
  });
}
