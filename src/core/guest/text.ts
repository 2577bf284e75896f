/**
 * Text from a guest: output of commands, a console, messages of its agent. It is stored unchanged and may contain anything. Everything
 * that displays it uses {@link displayText} or {@link excerpt} first.
 */
export type GuestText = string & { readonly __guestText: unique symbol };

/** Brands text as written by a guest. */
export function guestText(text: string): GuestText {
  return text as GuestText;
}

/**
 * Complete terminal sequences of ECMA-48: CSI, the strings OSC, DCS, SOS, PM and APC, and short escapes. Every repetition stops at
 * the next ESC, so that matching takes linear time.
 */
const [bell, escapeCode, stringEnd] = ['\u0007', '\u001b', '\u009c'];
const sequences = new RegExp(
  [
    String.raw`${escapeCode}(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]`,
    String.raw`[\]PX^_][^${escapeCode}${bell}${stringEnd}]*(?:${bell}|${stringEnd}|${escapeCode}\\)`,
    String.raw`[ -/]{0,4}[0-Z\\\`-~])`,
  ].join('|'),
  'g',
);

/** Control characters, and characters that reorder or break lines. */
const unsafe = /(?![\n\t])[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

/**
 * The text without terminal control: complete sequences (colors, titles, cursor movement) are removed, other control and
 * bidirectional characters are shown as `\xNN` or `\uNNNN`. Line breaks and tabs stay.
 */
export function displayText(text: string): string {
  return escapeUnsafe(text.replace(sequences, '').replace(/\r{1,3}\n/g, '\n'));
}

/** Like {@link displayText}, but shows sequences, too: for text in which every character matters, such as names and paths. */
export function escapeUnsafe(text: string): string {
  return text.replace(unsafe, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** Lines of a guest's text. A carriage return also ends a line, since the following text would overwrite it. */
function linesOf(text: string): string[] {
  return text.replace(/(?:\r{1,3}\n|\n|\r)$/, '').split(/\r{1,3}\n|\n|\r/);
}

/** How much of a guest's text a message quotes, in characters. */
const longestExcerpt = 300;

/** One line that is safe to quote in a message: plain, and cut to 300 characters. */
export function excerpt(text: unknown): string {
  // Cut first: a guest may have sent megabytes.
  const plain = displayText(String(text).slice(0, 4 * longestExcerpt))
    .replace(/\s+/g, ' ')
    .trim();
  return plain.length > longestExcerpt ? `${plain.slice(0, longestExcerpt - 1)}…` : plain;
}

/** The last non-empty lines of a guest's text, safe to quote in a message. */
export function excerptLines(text: string, count = 5): string[] {
  return linesOf(text.slice(-64 * 1024))
    .map(excerpt)
    .filter((line) => line !== '')
    .slice(-count);
}

/** Longer than any reasonable sequence. */
const longestSequence = 256;

/** {@link displayText} for a stream in chunks: recognizes sequences and line ends across chunks. */
export class DisplayStream {
  #held = '';

  push(piece: string): string {
    const text = this.#held + piece;
    const at = Math.max(0, openEnd(text));
    this.#held = text.slice(at);
    return displayText(text.slice(0, at));
  }

  /** The rest at the end of the stream. */
  end(): string {
    const rest = displayText(this.#held);
    this.#held = '';
    return rest;
  }
}

/** The start of a possibly incomplete sequence or line end. */
function openEnd(text: string): number {
  if (text.endsWith('\r')) return text.length - 1;
  const begin = text.lastIndexOf('\u001b', text.length - 1);
  const isOpen = begin >= text.length - longestSequence && text.slice(begin).replace(sequences, '').startsWith('\u001b');
  return begin >= 0 && isOpen ? begin : text.length;
}
