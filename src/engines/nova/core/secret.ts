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

/** Replaces these values in a text, e.g. in a message of a server. Values of fewer than four characters are too common to replace. */
export function withoutSecrets(text: string, secrets: readonly Secret[]): string {
  let result = text;
  for (const secret of secrets) {
    const value = secret.reveal();
    if (value.length >= 4) result = result.replaceAll(value, '***');
  }
  return result;
}
