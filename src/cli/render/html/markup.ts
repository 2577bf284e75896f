import { escapeHtml } from '../../../core/quoting.js';

/** Finished HTML. Only {@link html} and {@link ownText} create it. */
export class Html {
  constructor(readonly text: string) {}
}

export type Part = Html | string | number | null | undefined | readonly Part[];

/** A template whose inserted values are escaped, unless they are HTML. Attributes must be in double quotes. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(strings.reduce((text, string, position) => text + textOf(parts[position - 1]) + string));
}

/** Style and script of cowherd itself, which HTML does not unescape. Never for data. */
export function ownText(text: string): Html {
  return new Html(text);
}

function textOf(part: Part): string {
  if (part === null || part === undefined) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'object') return part.map(textOf).join('');
  return escapeHtml(String(part));
}
