import { escapeUnsafe } from '../../../core/guest/text.js';

/** What may contain an unsafe character: an escape of JSON, or the character itself. */
const suspicious = /\\u[0-9a-fA-F]{4}|\\[bfr]|[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u;

/**
 * Parses what the server sends. In every string, characters that control a terminal or reorder text are shown as `\xNN` or `\uNNNN`: names,
 * errors and definitions may come from a guest.
 */
export function parseSafely(text: string): unknown {
  if (!suspicious.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_key, value: unknown) => (typeof value === 'string' ? escapeUnsafe(value) : value));
}
