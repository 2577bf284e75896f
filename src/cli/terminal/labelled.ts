import { DisplayStream, type GuestText } from '../../core/guest/text.js';

/** A longer line without an end is shown in pieces of this many characters. */
const longestLine = 16 * 1024;

/**
 * Shows the output of many guests line by line, each line after the name of its member. A carriage return also ends a line, so that
 * the text after it cannot overwrite the name.
 */
export class LabelledLines {
  readonly #print: (line: string) => void;
  readonly #raw: boolean;
  readonly #open = new Map<string, { held: string; display: DisplayStream }>();
  #width = 0;

  /** @param raw keep control characters */
  constructor(print: (line: string) => void, raw = false) {
    this.#print = print;
    this.#raw = raw;
  }

  /** Pads names to the longest of these. */
  align(names: readonly string[]): void {
    this.#width = names.reduce((width, name) => Math.max(width, name.length), 0);
  }

  push(name: string, text: GuestText, stream: '' | 'stdout' | 'stderr' = ''): void {
    const key = `${name}/${stream}`;
    const open = this.#open.get(key) ?? { held: '', display: new DisplayStream() };
    this.#open.set(key, open);
    const lines = (open.held + (this.#raw ? text : open.display.push(text))).split(/\r{1,3}\n|\n|\r(?!$)/);
    open.held = lines.pop() ?? '';
    for (const line of lines) this.note(name, '|', line);
    while (open.held.length > longestLine) {
      this.note(name, '|', open.held.slice(0, longestLine));
      open.held = open.held.slice(longestLine);
    }
  }

  /** Shows the last, incomplete line of a member. */
  end(name: string): void {
    for (const stream of ['', 'stdout', 'stderr']) {
      const key = `${name}/${stream}`;
      const open = this.#open.get(key);
      this.#open.delete(key);
      if (open === undefined) continue;
      const rest = (open.held + (this.#raw ? '' : open.display.end())).replace(/\r+$/, '');
      if (rest !== '') this.note(name, '|', rest);
    }
  }

  /** Shows a line about a member. */
  note(name: string, sign: '|' | '!', line: string): void {
    this.#print(`${name.padEnd(this.#width)} ${sign} ${line}`.trimEnd());
  }
}
