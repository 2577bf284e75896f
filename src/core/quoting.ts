import { CowherdError } from './errors.js';
import { escapeUnsafe } from './guest/text.js';

/** Quoting for each output syntax. A value that the syntax cannot represent is refused. */

/** One word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : shellQuote(text);
}

/** One word of a POSIX shell, always in quotes. @throws BAD_USAGE for a NUL, which no shell word can contain */
export function shellQuote(text: string): string {
  if (text.includes('\0')) throw cannotHold('a shell command', text);
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * An argument in ssh_config(5), taken literally: quotes, comments and `%` are escaped.
 * @param dollar an environment variable of ssh that contains `$`, since ssh expands `${NAME}` and has no escape for it
 * @throws BAD_USAGE for control characters, and for `${` without such a variable
 */
export function sshConfigValue(text: string, dollar?: string): string {
  if (!isSshConfigValue(dollar === undefined ? text : text.replaceAll('${', ''))) throw cannotHold('ssh_config', text);
  const literal = text.replaceAll('%', '%%');
  if (/^[\w@%+=:,./~-]+$/.test(literal)) return literal;
  return `"${withinSshQuotes(text).replaceAll('${', dollar === undefined ? '${' : `\${${dollar}}{`)}"`;
}

/** Whether an ssh_config can contain it without such a variable. */
export function isSshConfigValue(text: string): boolean {
  return !/\p{Cc}|\$\{/u.test(text);
}

/** Escapes text for use between the quotes of an argument in ssh_config(5). */
export function withinSshQuotes(text: string): string {
  return text.replaceAll('%', '%%').replace(/[\\"]/g, '\\$&');
}

/** A CSV field (RFC 4180). Text that a spreadsheet would read as a formula is escaped. */
export function csvField(value: string | number): string {
  if (typeof value === 'number') return String(value);
  const plain = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

/** Text or an attribute of XML 1.0. @throws BAD_USAGE for characters that XML cannot contain */
export function escapeXml(value: string): string {
  if (/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/u.test(value)) throw cannotHold('XML', value);
  return value.replace(/[&<>"'\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/**
 * Text or an attribute in quotes of HTML. Characters that control a terminal or reorder text are shown as `\\xNN` or `\\uNNNN`: HTML has
 * no escape for some of them, and reordered text could make a name look like another one.
 */
export function escapeHtml(text: string): string {
  return escapeUnsafe(text).replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A JSON document with terminal control and bidirectional characters escaped. */
export function jsonText(value: unknown): string {
  return (JSON.stringify(value, undefined, 2) ?? 'null').replace(
    /[\u007f-\u009f\u2028\u2029]|\p{Bidi_Control}/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function cannotHold(where: string, text: string): CowherdError {
  return new CowherdError('BAD_USAGE', `${JSON.stringify(text.slice(0, 120))} cannot be written to ${where}`, {
    hint: 'Choose a name or path without control characters and without "${".',
  });
}
