import xterm from '@xterm/headless';
import { execa } from 'execa';
import { type Lab, bin as ownBin, until } from '../lab.js';

/** cowherd in a real pseudo-terminal: `script` creates the terminal, xterm.js renders its output. */

export interface Size {
  columns: number;
  rows: number;
}

export const sizes: readonly Size[] = [
  { columns: 80, rows: 24 },
  { columns: 160, rows: 50 },
];

/** More lines than any run writes. */
const scrollback = 2_000;
/** COWHERD_BIN=/elsewhere/bin/run.js tests another build. */
const bin = process.env.COWHERD_BIN ?? ownBin;

export class TerminalRun {
  readonly #screen: InstanceType<typeof xterm.Terminal>;
  readonly #size: Size;
  readonly #script;
  readonly #chunks: Buffer[] = [];

  /** @param options.command shell command to run instead of cowherd */
  constructor(lab: Lab, words: readonly string[], size: Size, options: { env?: Record<string, string>; command?: string } = {}) {
    const { columns: cols, rows } = size;
    this.#size = size;
    this.#screen = new xterm.Terminal({ cols, rows, scrollback, allowProposedApi: true });
    const quoted = [process.execPath, bin, ...words].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    // The environment of the tests may set these.
    const unset = '-u FORCE_COLOR -u NO_COLOR -u CI';
    const assigned = Object.entries({ TERM: 'xterm-256color', ...options.env }).map(([name, value]) => `${name}='${value}'`);
    const line = `stty rows ${rows} cols ${cols}; exec env ${unset} ${assigned.join(' ')} ${options.command ?? quoted}`;
    this.#script = execa('script', ['-qefc', line, '/dev/null'], {
      env: { ...lab.env, SHELL: '/bin/sh' },
      stdin: 'pipe',
      reject: false,
      buffer: false,
      encoding: 'buffer',
    });
    this.#script.stdout.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#screen.write(chunk);
    });
  }

  /** Types something; `\u0003` is Ctrl-C. */
  type(text: string): void {
    this.#script.stdin.write(text);
  }

  /** Waits until the screen shows a text. */
  async shows(pattern: RegExp): Promise<void> {
    await until(`${pattern} on the screen`, async () => pattern.test((await this.look()).text), 30).catch(async (error) => {
      throw new Error(`${error.message}:\n${(await this.look()).text}`);
    });
  }

  async end(): Promise<Remains> {
    const { exitCode = -1 } = await this.#script;
    return { ...(await this.look()), exitCode };
  }

  async look(): Promise<Omit<Remains, 'exitCode'>> {
    await new Promise<void>((resolve) => this.#screen.write('', resolve));
    const { active } = this.#screen.buffer;
    const lines: string[] = [];
    const cut: string[] = [];
    for (let row = 0; row < active.length; row++) {
      const line = active.getLine(row);
      const text = line?.translateToString(true) ?? '';
      lines.push(text);
      const above = lines[row - 1] ?? '';
      // A word that is wider than the terminal must be cut.
      const word = `${/\S*$/.exec(above)?.[0] ?? ''}${/^\S*/.exec(text)?.[0] ?? ''}`;
      if (line?.isWrapped === true && word.length < this.#size.columns - 24) cut.push(word);
    }
    const bytes = Buffer.concat(this.#chunks).toString('utf8');
    return { text: lines.join('\n').trimEnd(), cut, bytes };
  }
}

export interface Remains {
  exitCode: number;
  /** All lines, including the scrollback. */
  text: string;
  /** Words cut at the width of the terminal. */
  cut: string[];
  /** Raw output to the terminal. */
  bytes: string;
}

export function inTerminal(lab: Lab, words: readonly string[], size: Size, env?: Record<string, string>): Promise<Remains> {
  return new TerminalRun(lab, words, size, { env }).end();
}

/** The final progress bars: `{label: 'starting', done: 5, total: 6}`. */
export function barsOf(text: string): Array<{ label: string; done: number; total: number; line: string }> {
  return text.split('\n').flatMap((line) => {
    const match = /^(?:[█░]+ )(.*?) (\d+)\/(\d+)/.exec(line);
    return match === null ? [] : [{ label: match[1] ?? '', done: Number(match[2]), total: Number(match[3]), line }];
  });
}

const esc = '\u001b';
const color = new RegExp(`${esc}\\[[\\d;]*m`, 'g');

/** Problems of a screen that apply to any command. @param isData output for programs: lines are not wrapped */
export function complaints({ text, cut, bytes }: Remains, isData = false): string[] {
  const hasBar = /[█░]{5}/.test(text);
  const hidden = bytes.lastIndexOf(`${esc}[?25l`);
  return [
    ...(isData ? [] : cut).map((word) => `the word ${word} is cut`),
    ...(!hasBar && bytes.replace(color, '').includes(esc) ? ['control codes without a bar'] : []),
    ...(hidden >= 0 && bytes.lastIndexOf(`${esc}[?25h`) < hidden ? ['the cursor is hidden'] : []),
    ...(text.includes('\\x1b') ? ['a control code is shown as text'] : []),
    ...(/\bundefined\b|\bNaN\b|\d\.\d{6}/.test(text) ? ['it shows a value that is for programs'] : []),
  ];
}
