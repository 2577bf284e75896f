import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { TestBrowser } from '../../support/browser/browser.js';
import { Lab } from '../../support/lab.js';

describe('the page of report --html, opened from disk', () => {
  const browser = TestBrowser.use();
  let file = '';
  const lab = Lab.use(async () => {
    file = join(lab.scratch, 'report.html');
    const fleet = await lab.spawned('page', await lab.golden('golden.qcow2'), 3);
    await lab.ok('stop', fleet, '3', '--force', '--timeout', '1s');
    await lab.ok('reset', fleet, '1');
    await lab.ok('report', '--html', file);
  });

  const pathname = (): string => `//${file}`;

  it.each([360, 800, 1400])('fits a window of %i pixels, and is accessible', async (width) => {
    const url = pathToFileURL(file).href;
    const opened = await browser.open(pathname(), { viewport: { width, height: 900 } });
    await opened.page.goto(url);
    await opened.assertFits();
    await opened.assertAccessible();
    if (width === 1400) await opened.picture('report-page');
    expect(opened.faults).toEqual([]);
  });

  it('is sorted and filtered with the keyboard', async () => {
    const url = pathToFileURL(file).href;
    const { page, faults } = await browser.open(pathname());
    await page.goto(url);
    const names = (): Promise<string[]> =>
      page.locator('#member-table tbody tr:visible').evaluateAll((rows) => rows.map((row) => row.id || (row.textContent ?? '')));
    const all = await names();
    expect(all).toHaveLength(3);
    await page.locator('#member-table thead th:nth-child(2) button').focus();
    await page.keyboard.press('Enter');
    const once = await names();
    await page.keyboard.press('Enter');
    expect(await names()).toEqual([...once].reverse());
    await page.locator('#filter').focus();
    await page.keyboard.type('off');
    expect(await names()).toHaveLength(1);
    expect(faults).toEqual([]);
  });

  it('prints all members on white paper', async () => {
    const url = pathToFileURL(file).href;
    const { page } = await browser.open(pathname(), { colorScheme: 'dark' });
    await page.goto(url);
    await page.emulateMedia({ media: 'print' });
    expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toMatch(/rgb\(255, 255, 255\)|rgba\(0, 0, 0, 0\)/);
    expect(await page.locator('#member-table tbody tr:visible').count()).toBe(3);
    expect((await page.pdf()).length).toBeGreaterThan(10_000);
    expect((await stat(file)).size).toBeLessThan(1_000_000);
  });
});
