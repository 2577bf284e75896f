/**
 * Text that a guest wrote: output of commands, a console, messages of its agent. It is kept as it came, and may hold anything. Whatever
 * shows it passes it through {@link displayText} or {@link excerpt} first.
 */
export type GuestText = string & { readonly __guestText: unique symbol };

/** Marks text as written by a guest. */
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

/** What a terminal obeys instead of showing, and what reorders or breaks lines. */
const unsafe = /(?![\n\t])[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

/**
 * The text without what steers a terminal: complete sequences (colors, titles, cursor movement) are dropped, other control and
 * bidirectional characters are shown as `\xNN` or `\uNNNN`. Line breaks and tabs stay.
 */
export function displayText(text: string): string {
  return escapeUnsafe(text.replace(sequences, '').replace(/\r{1,3}\n/g, '\n'));
}

/** Like {@link displayText}, but sequences are shown, too: for texts in which each character counts, such as names and paths. */
export function escapeUnsafe(text: string): string {
  return text.replace(unsafe, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** Lines of a guest's text. A carriage return ends a line, too: what follows it would overwrite what stands before. */
export function linesOf(text: string): string[] {
  return text.replace(/(?:\r{1,3}\n|\n|\r)$/, '').split(/\r{1,3}\n|\n|\r/);
}

/** How much of a guest's text a message quotes, in characters. */
const longestExcerpt = 300;

/** One line that a message may quote: plain, and cut to 300 characters. */
export function excerpt(text: unknown): string {
  // Cut first: a guest may have sent megabytes.
  const plain = displayText(String(text).slice(0, 4 * longestExcerpt))
    .replace(/\s+/g, ' ')
    .trim();
  return plain.length > longestExcerpt ? `${plain.slice(0, longestExcerpt - 1)}…` : plain;
}

/** The last lines of a guest's text that are not empty, as a message may quote them. */
export function excerptLines(text: string, count = 5): string[] {
  return linesOf(text.slice(-64 * 1024))
    .map(excerpt)
    .filter((line) => line !== '')
    .slice(-count);
}

/** Longer than any sequence that is worth waiting for. */
const longestSequence = 256;

/** {@link displayText} of a stream that comes in pieces: a sequence or line end that is cut in two is still recognized. */
export class DisplayStream {
  #held = '';

  push(piece: string): string {
    const text = this.#held + piece;
    const at = Math.max(0, openEnd(text));
    this.#held = text.slice(at);
    return displayText(text.slice(0, at));
  }

  /** What was held back when the stream ended. */
  end(): string {
    const rest = displayText(this.#held);
    this.#held = '';
    return rest;
  }
}

/** Where a sequence or a line end begins that the text may not have come to the end of. */
function openEnd(text: string): number {
  if (text.endsWith('\r')) return text.length - 1;
  const begin = text.lastIndexOf('\u001b', text.length - 1);
  const isOpen = begin >= text.length - longestSequence && text.slice(begin).replace(sequences, '').startsWith('\u001b');
  return begin >= 0 && isOpen ? begin : text.length;
}
