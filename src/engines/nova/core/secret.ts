/**
 * A password, token or key. It is shown as *** wherever an object is printed: by util.inspect, JSON.stringify and string templates.
 * {@link reveal} is the only way to its value.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '***';
  }

  toJSON(): string {
    return '***';
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '***';
  }
}

/**
 * Replaces these values in a text, e.g. in a reply of a server, also where they are quoted as in JSON or HTML. Values of fewer than four
 * characters are too common to replace.
 */
export function withoutSecrets(text: string, secrets: readonly Secret[]): string {
  let result = text;
  for (const secret of secrets) {
    const value = secret.reveal();
    if (value.length >= 4) for (const form of formsOf(value)) result = result.replaceAll(form, '***');
  }
  return result;
}

/** How a text can be written in a reply: services escape it once, or twice if their message quotes a request. The longest first. */
function formsOf(value: string): string[] {
  const once = [value, ...inJson(value)];
  const all = [...once, ...once.flatMap(inJson), ...once.flatMap(inHtml)];
  return [...new Set(all)].sort((a, b) => b.length - a.length);
}

/** Other characters than those of ASCII are escaped or not. */
function inJson(value: string): string[] {
  const text = JSON.stringify(value).slice(1, -1);
  const inAscii = text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return [text, inAscii];
}

function inHtml(value: string): string[] {
  const text = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return [
    text,
    ...['&#x27;', '&#39;'].flatMap((quote) => ['&quot;', '&#34;'].map((double) => text.replaceAll("'", quote).replaceAll('"', double))),
  ];
}
