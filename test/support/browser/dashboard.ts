import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect } from 'vitest';
import type { Lab } from '../lab.js';
import type { OpenPage, TestBrowser } from './browser.js';

/** A running `cowherd dashboard` of a lab. */
export class DashboardRun {
  readonly #process: ReturnType<Lab['begin']>;
  readonly #lines: AsyncIterator<string>;
  /** Signs in one browser. */
  #url: string;

  private constructor(process: ReturnType<Lab['begin']>, lines: AsyncIterator<string>, url: string) {
    this.#process = process;
    this.#lines = lines;
    this.#url = url;
  }

  static async start(lab: Lab, ...flags: string[]): Promise<DashboardRun> {
    const child = lab.begin('dashboard', '--json', ...flags);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return new DashboardRun(child, lines, await nextUrl(lines));
  }

  get port(): string {
    return new URL(this.#url).port;
  }

  /** Signs in a new browser. */
  async open(browser: TestBrowser, options?: Parameters<TestBrowser['open']>[1]): Promise<OpenPage> {
    const opened = await browser.open(`//${new URL(this.#url).host}/`, options);
    await opened.page.goto(this.#url);
    this.#url = await nextUrl(this.#lines);
    return opened;
  }

  /** Ends it as Ctrl-C does. */
  async stop(): Promise<void> {
    if (this.#process.exitCode === null) this.#process.kill('SIGINT');
    expect(await this.#process).toMatchObject({ exitCode: 0 });
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }
}

async function nextUrl(lines: AsyncIterator<string>): Promise<string> {
  return JSON.parse((await lines.next()).value ?? '{}').url;
}
