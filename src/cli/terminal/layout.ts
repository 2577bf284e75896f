import stringWidth from 'string-width';
import wrapAnsi from 'wrap-ansi';
import { paint, type Style } from './style.js';

/** Fits text to the width of a terminal. Elsewhere lines stay whole, for grep and for files. */

/** Narrower terminals get lines that the terminal breaks itself. */
const leastWidth = 20;

/** Columns of the terminal that a stream leads to; undefined where it leads to none. */
export function widthOf(stream: NodeJS.WriteStream): number | undefined {
  return stream.isTTY && stream.columns >= leastWidth ? stream.columns : undefined;
}

export function displayWidth(text: string): number {
  return stringWidth(text);
}

/** What a line begins with that the lines it is wrapped to are indented by. */
const lead = /^\s*(?:(?:[!?→✔✘•-]|note:) )?\s*/u;

/**
 * Wraps each line between words; what follows its first part is indented to stand below its text.
 * @param width undefined to leave the lines whole
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

/** What is meant to be read, not to be processed: wrapped, and with the signs that lines begin with in color. */
export function page(text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return wrap(text, widthOf(stream))
    .split('\n')
    .map((line) => line.replace(sign, (_, blanks: string, one: string) => blanks + paint(signStyles[one] ?? 'strong', one)))
    .join('\n');
}

/** The text behind a first part, wrapped and indented so that it stays to the right of it. */
export function hang(begin: string, text: string, width: number): string {
  const indent = displayWidth(begin);
  const room = width - indent;
  if (room < leastWidth) return `${begin}${text}`;
  return begin + wrapAnsi(text, room, { hard: false, trim: true }).replaceAll('\n', `\n${' '.repeat(indent)}`);
}

/** Cut at the end. */
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

/** Cut in the middle: names and paths differ at their ends. */
export function shorten(text: string, width: number): string {
  const characters = [...text];
  if (displayWidth(text) <= width || characters.length <= width) return text;
  const tail = Math.floor((width - 1) / 2);
  return `${characters.slice(0, width - 1 - tail).join('')}…${tail === 0 ? '' : characters.slice(-tail).join('')}`;
}
