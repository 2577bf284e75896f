import { randomBytes } from 'node:crypto';
import { WriteStream } from 'node:tty';
import { inspect } from 'node:util';
import { escapeUnsafe } from '../../core/guest/text.js';

/**
 * Color. Styled text contains marks with a random part, so no other text can contain them. Only {@link forStream} turns the marks into
 * terminal sequences; it escapes everything else.
 */

export type Style = 'good' | 'bad' | 'doubtful' | 'quiet' | 'strong';

const colorOf: Record<Style, keyof typeof inspect.colors> = {
  good: 'green',
  bad: 'red',
  doubtful: 'yellow',
  quiet: 'gray',
  strong: 'bold',
};

const key = `\u001b]8;${randomBytes(8).toString('hex')};`;
const markEnd = '\u0007';

/** Has no display width: the marks have the form of links, which the libraries that measure and wrap text know as escape sequences. */
export function paint(style: Style, text: string): string {
  const [open, close] = inspect.colors[colorOf[style]] ?? [0, 0];
  const isSeen = takesColor(process.stdout) || takesColor(process.stderr);
  return text === '' || !isSeen ? text : `${key}${open}${markEnd}${text}${key}${close}${markEnd}`;
}

/** The text for a stream: escaped, and colored if the stream supports it. */
export function forStream(text: string, stream: NodeJS.WriteStream): string {
  const [plain = '', ...painted] = text.split(key);
  const isColored = painted.length > 0 && takesColor(stream);
  const rest = painted.map((part) => {
    const end = part.indexOf(markEnd);
    return `${isColored ? `\u001b[${part.slice(0, end)}m` : ''}${escapeUnsafe(part.slice(end + 1))}`;
  });
  return escapeUnsafe(plain) + rest.join('');
}

/** FORCE_COLOR and NO_COLOR decide; otherwise color is used on terminals that support it. */
function takesColor(stream: NodeJS.WriteStream): boolean {
  const { FORCE_COLOR: forced, NO_COLOR: refused } = process.env;
  if (forced !== undefined) return !['0', 'false'].includes(forced);
  if (refused !== undefined && refused !== '') return false;
  return stream.isTTY === true && WriteStream.prototype.getColorDepth(process.env) > 1;
}
