import stringWidth from 'fast-string-width';
import { wrapAnsi } from 'fast-wrap-ansi';
import { withFlags } from './repeated-flags.js';
import { paint, type Style } from './style.js';

/** Fits text to the width of a terminal. Other output is not wrapped, for grep and files. */

/** Text for narrower terminals is not wrapped. */
const leastWidth = 20;

/** Width of the stream's terminal; undefined if it is not a terminal. */
export function widthOf(stream: NodeJS.WriteStream): number | undefined {
  return stream.isTTY && stream.columns >= leastWidth ? stream.columns : undefined;
}

export function displayWidth(text: string): number {
  return stringWidth(text);
}

/** The beginning of a line; its continuation lines are indented by the same width. */
const lead = /^\s*(?:(?:[!?→✔✘•-]|note:) )?\s*/u;

/**
 * Wraps each line between words and indents continuation lines to align with the text of the first.
 * @param width undefined for no wrapping
 */
export function wrap(text: string, width: number | undefined): string {
  if (width === undefined) return text;
  return text
    .split('\n')
    .map((line) => wrapLine(line, width))
    .join('\n');
}

function wrapLine(line: string, width: number): string {
  if (displayWidth(line) <= width) return line;
  const begin = lead.exec(line)?.[0] ?? '';
  return hang(begin, line.slice(begin.length), width);
}

const signStyles: Record<string, Style> = { '!': 'doubtful', '?': 'doubtful', '→': 'strong', '✔': 'good', '✘': 'bad', 'Error:': 'bad' };
const sign = /^(\s*)([!?→✔✘]|Error:)(?= )/u;

/** Formats text for people: with commands that can be copied, wrapped, with colored signs at the beginning of lines. */
export function page(text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return wrap(withFlags(text), widthOf(stream))
    .split('\n')
    .map((line) => line.replace(sign, (_, blanks: string, one: string) => blanks + paint(signStyles[one] ?? 'strong', one)))
    .join('\n');
}

/** Puts the text after `begin`, wrapped and indented so that it stays to the right of it. */
export function hang(begin: string, text: string, width: number): string {
  const indent = displayWidth(begin);
  const room = width - indent;
  if (room < leastWidth) return `${begin}${text}`;
  return begin + wrapAnsi(text, room, { hard: false, trim: true }).replaceAll('\n', `\n${' '.repeat(indent)}`);
}

/** Cuts the text at its end. */
export function truncate(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  const kept: string[] = [];
  let used = 1;
  for (const character of text) {
    used += displayWidth(character);
    if (used > width) break;
    kept.push(character);
  }
  return `${kept.join('')}…`;
}

/** Cuts the text in the middle: names and paths differ at their ends. */
export function shorten(text: string, width: number): string {
  const characters = [...text];
  if (displayWidth(text) <= width || characters.length <= width) return text;
  const tail = Math.floor((width - 1) / 2);
  return `${characters.slice(0, width - 1 - tail).join('')}…${tail === 0 ? '' : characters.slice(-tail).join('')}`;
}
