import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect } from 'vitest';

/** Debian's Chromium. Faults in pages (scripts, the content security policy, requests elsewhere) fail the test that opened them. */

const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const images = fileURLToPath(new URL('../../../docs/images/', import.meta.url));

export class TestBrowser {
  readonly #pages: OpenPage[] = [];
  #browser: Awaited<ReturnType<typeof chromium.launch>> | undefined;

  static use(): TestBrowser {
    const one = new TestBrowser();
    beforeAll(async () => {
      // Root may not use Chromium's sandbox.
      one.#browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
    });
    afterAll(() => one.#browser?.close());
    return one;
  }

  /** @param origin what all addresses that the page loads must begin with, after the scheme, e.g. `//127.0.0.1:7374/` */
  async open(origin: string, options: BrowserContextOptions = {}): Promise<OpenPage> {
    if (this.#browser === undefined) throw new Error('the browser is not running');
    const context = await this.#browser.newContext({ reducedMotion: 'reduce', ...options });
    context.setDefaultTimeout(15_000);
    const opened = new OpenPage(await context.newPage(), origin);
    this.#pages.push(opened);
    return opened;
  }
}

export class OpenPage {
  /** Errors of scripts, refused by the policy, or requests to another origin. */
  readonly faults: string[] = [];

  constructor(
    readonly page: Page,
    origin: string,
  ) {
    page.on('pageerror', ({ message }) => this.faults.push(`error: ${message}`));
    page.on('console', (message) => {
      if (message.type() === 'error' && !/^Failed to load resource/.test(message.text())) this.faults.push(`console: ${message.text()}`);
    });
    page.on('request', (request) => {
      const url = request.url();
      if (!url.replace(/^[a-z]+:/, '').startsWith(origin) && !/^(data|blob):/.test(url)) this.faults.push(`request: ${url}`);
    });
  }

  /** Violations of accessibility rules that are serious or critical, in both color schemes. */
  async assertAccessible(): Promise<void> {
    for (const colorScheme of ['light', 'dark'] as const) {
      await this.page.emulateMedia({ colorScheme });
      // In its own realm: the page's policy allows no foreign script.
      await this.page.evaluate(axeSource);
      const found = await this.page.evaluate(async () => {
        const { violations } = await (globalThis as any).axe.run();
        return violations
          .filter(({ impact }: any) => impact === 'serious' || impact === 'critical')
          .map(({ id, nodes }: any) => `${id}: ${nodes.map(({ html, failureSummary }: any) => `${html} ${failureSummary}`).join('\n')}`);
      });
      expect.soft(found, `accessibility of ${this.page.url()}, ${colorScheme}`).toEqual([]);
    }
  }

  /** Nothing is wider than the window. */
  async assertFits(): Promise<void> {
    const [content = 0, window = 0] = await this.page.evaluate(() => [
      document.documentElement.scrollWidth,
      document.documentElement.clientWidth,
    ]);
    expect.soft(content, `width of ${this.page.url()} in a window of ${window}`).toBeLessThanOrEqual(window);
  }

  /** Takes a picture for the documentation if COWHERD_SCREENSHOTS is set. */
  async picture(name: string): Promise<void> {
    if (!process.env.COWHERD_SCREENSHOTS) return;
    await mkdir(images, { recursive: true });
    // Names as users would choose them, without the marks of a test.
    await this.page.evaluate(() => {
      const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      for (let text = texts.nextNode(); text !== null; text = texts.nextNode())
        text.nodeValue = (text.nodeValue ?? '')
          .replace(/cwt-([a-z]+)-[0-9a-f]{6}/g, '$1')
          .replace(/(images\/)cwt-[0-9a-f]{6}/g, '$1cowherd');
    });
    await this.page.screenshot({ path: `${images}${name}.png` });
  }
}
