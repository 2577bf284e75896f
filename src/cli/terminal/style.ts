import { randomBytes } from 'node:crypto';
import { WriteStream } from 'node:tty';
import { inspect } from 'node:util';
import { escapeUnsafe } from '../../core/guest/text.js';

/**
 * Color. What is painted carries marks that no other text can hold, since they have a random part; only {@link forStream} turns them
 * into terminal sequences. Everything else in a text is escaped there, as ever.
 */

export type Style = 'good' | 'bad' | 'doubtful' | 'quiet' | 'strong';

const colorOf: Record<Style, keyof typeof inspect.colors> = {
  good: 'green',
  bad: 'red',
  doubtful: 'yellow',
  quiet: 'gray',
  strong: 'bold',
};

const key = `\u001b]${randomBytes(8).toString('hex')};`;
const markEnd = '\u0007';

/** Takes no width: {@link https://www.npmjs.com/package/string-width | string-width} and wrap-ansi see a sequence. */
export function paint(style: Style, text: string): string {
  const [open, close] = inspect.colors[colorOf[style]] ?? [0, 0];
  const isSeen = takesColor(process.stdout) || takesColor(process.stderr);
  return text === '' || !isSeen ? text : `${key}${open}${markEnd}${text}${key}${close}${markEnd}`;
}

/** The text as a stream may get it: escaped, and with colors where the stream takes them. */
export function forStream(text: string, stream: NodeJS.WriteStream): string {
  const [plain = '', ...painted] = text.split(key);
  const isColored = painted.length > 0 && takesColor(stream);
  const rest = painted.map((part) => {
    const end = part.indexOf(markEnd);
    return `${isColored ? `\u001b[${part.slice(0, end)}m` : ''}${escapeUnsafe(part.slice(end + 1))}`;
  });
  return escapeUnsafe(plain) + rest.join('');
}

/** FORCE_COLOR and NO_COLOR decide; otherwise a terminal that is not dumb. */
export function takesColor(stream: NodeJS.WriteStream): boolean {
  const { FORCE_COLOR: forced, NO_COLOR: refused } = process.env;
  if (forced !== undefined) return !['0', 'false'].includes(forced);
  if (refused !== undefined && refused !== '') return false;
  return stream.isTTY === true && WriteStream.prototype.getColorDepth(process.env) > 1;
}
