import type { Contents } from './origin.js';

/** The file is a few hundred bytes; more is not read. */
export const maxOsReleaseBytes = 16 * 1024;

const longestWord = 64;
const longestName = 100;
/** More lines than any distribution writes. */
const maxLines = 500;

/**
 * The operating system that an os-release file describes. The file is from an image, so its values are bounded and printable.
 * @returns undefined if it says nothing
 * Source: os-release(5)
 */
export function parseOsRelease(text: string): Contents['os'] {
  const values = new Map<string, string>();
  for (const line of text.slice(0, maxOsReleaseBytes).split('\n', maxLines)) {
    const [, key, quoted] = /^([A-Z][A-Z0-9_]{0,63})=(.*)$/.exec(line.trim()) ?? [];
    const value = quoted === undefined ? undefined : unquoted(quoted);
    // As in a shell, the last assignment counts.
    if (key !== undefined && value !== undefined) values.set(key, value);
  }
  const name = printable(values.get('PRETTY_NAME') ?? values.get('NAME') ?? '');
  const version = word(values.get('VERSION_ID'));
  const id = word(values.get('ID')) ?? (name === '' ? undefined : 'linux');
  if (id === undefined) return undefined;
  return { id, ...(version === undefined ? {} : { version }), ...(name === '' ? {} : { name }) };
}

/** The value of a shell assignment without expansion or concatenation. @returns undefined for anything else */
function unquoted(text: string): string | undefined {
  if (/^'[^']*'$/.test(text)) return text.slice(1, -1);
  // Between double quotes, a backslash quotes these characters only.
  if (/^"(?:[^"\\$`]|\\.)*"$/s.test(text)) return text.slice(1, -1).replace(/\\(["\\$`])/g, '$1');
  return /^(?:[^\s"'\\$`;&|<>()]|\\.)*$/s.test(text) ? text.replace(/\\(.)/gs, '$1') : undefined;
}

/** Values that programs compare: lower-case letters, digits and a few other characters. */
function word(text: string | undefined): string | undefined {
  return text !== undefined && text.length <= longestWord && /^[a-z0-9][a-z0-9._~+^-]*$/.test(text) ? text : undefined;
}

/** Text from the image must not control the terminal. */
function printable(text: string): string {
  const plain = [...text.slice(0, 4 * longestName)].map((character) =>
    /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u.test(character) ? character : '?',
  );
  return plain.slice(0, longestName).join('').trim();
}
