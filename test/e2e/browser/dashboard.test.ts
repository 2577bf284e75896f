import { execa } from 'execa';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type OpenPage, TestBrowser } from '../../support/browser/browser.js';
import { DashboardRun } from '../../support/browser/dashboard.js';
import { guest, Lab } from '../../support/lab.js';

const machine = ['--memory', '128MiB', '--network', 'none', '--seed', 'smbios'];
const screen = { viewport: { width: 1280, height: 900 } };

/** The member of a page in the grid. */
const cell = (page: Page, name: string): Locator => page.getByRole('option', { name: new RegExp(`^${name}:`) });
const cells = (page: Page): Locator => page.getByRole('listbox').getByRole('option');
const action = (page: Page, name: string): Locator => page.getByRole('group', { name: 'Actions' }).getByRole('button', { name });
/** Results of what was started in the page. */
const results = (page: Page): Locator => page.getByRole('region', { name: 'Actions that were started here' });

describe('the dashboard in a browser', () => {
  const browser = TestBrowser.use();
  const lab = Lab.use();
  const fleet = lab.fleet('herd');
  const member = (index: number): string => `${fleet}-00${index}`;
  let run: DashboardRun;
  let opened: OpenPage;
  let page: Page;
  const go = (path: string): Promise<void> => page.evaluate((hash) => location.assign(hash), path);

  /** Selects these members only. */
  const choose = async (...indexes: number[]): Promise<void> => {
    const clear = page.getByRole('button', { name: 'Clear', exact: true });
    if (await clear.isEnabled()) await clear.click();
    for (const index of indexes) {
      await cell(page, member(index)).click();
      await expect.poll(() => cell(page, member(index)).getAttribute('aria-selected')).toBe('true');
    }
  };

  const openTo = async (name: string): Promise<{ page: Page; picture: (name: string) => Promise<void> }> => {
    const another = await run.open(browser, { ...screen, colorScheme: 'dark' });
    await another.page.getByRole('link', { name, exact: true }).first().click();
    return { page: another.page, picture: (file) => another.picture(file) };
  };

  beforeAll(async () => {
    await lab.ok('base', 'add', inject('tinyImage'), '--name', 'golden');
    run = await DashboardRun.start(lab);
    opened = await run.open(browser, screen);
    page = opened.page;
  });
  afterAll(() => run.stop());

  it('fills its cells while a terminal spawns', async () => {
    await page.getByRole('heading', { name: 'Fleets' }).waitFor();
    await opened.assertAccessible();
    await go(`#/fleet/${fleet}`);
    const terminal = lab.begin('spawn', fleet, '--base', 'golden', '--count', '5', ...machine, '--wait', 'agent');
    await expect.poll(() => cells(page).count(), { timeout: 30_000 }).toBe(5);
    await expect.poll(() => page.getByText(/spawn/).count(), { timeout: 30_000 }).toBeGreaterThan(0);
    await expect.poll(() => page.getByRole('option', { name: /: running/ }).count(), { timeout: 30_000 }).toBe(5);
    expect((await terminal).exitCode).toBe(0);
    await opened.assertAccessible();
    await opened.assertFits();
  });

  it('resets three members after it has named what is lost, and their drift drops', async () => {
    await lab.ok('exec', fleet, '1-3', '--via', 'agent', '--', '/bin/sh', '-c', 'head -c 3000000 /dev/urandom > /root/drift; sync');
    // A command in the fleet makes the page look at it again.
    await lab.ok('start', fleet);
    const drift = (index: number): Locator =>
      page
        .getByRole('row', { name: new RegExp(member(index)) })
        .getByText(/^[34]\.?\d* MiB$/)
        .first();
    await drift(3).waitFor();
    await choose(1, 2, 3);
    await action(page, 'Reset').click();
    const dialog = page.getByRole('dialog');
    await expect.poll(() => dialog.textContent()).toMatch(/(9|1\d)\.?\d* MiB written by 3 members/);
    expect(await dialog.textContent()).toContain(`cowherd reset ${fleet} 1-3`);
    await opened.assertAccessible();
    await dialog.getByRole('button', { name: 'Reset 3 members' }).click();
    await expect.poll(() => results(page).textContent(), { timeout: 30_000 }).toMatch(/3 reset/);
    await expect.poll(() => drift(3).count(), { timeout: 30_000 }).toBe(0);
    expect(await lab.ok('exec', fleet, '4', '--via', 'agent', '--', '/bin/true')).toMatchObject({ counts: { failed: 0 } });
  });

  it('runs what is typed into a console, and shows the boot after a reset', async () => {
    await go(`#/fleet/${fleet}/2`);
    await page.getByRole('button', { name: 'Open console' }).click();
    const text = (): Promise<string> =>
      page.locator('.xterm-rows').evaluate((rows) => [...rows.children].map((row) => row.textContent).join('\n'));
    await page.locator('.xterm-helper-textarea').focus();
    await expect
      .poll(
        async () => {
          await page.keyboard.press('Enter');
          return text();
        },
        { timeout: 90_000, interval: 500 },
      )
      .toMatch(/[~/] # /);
    await page.keyboard.type('hostname; echo $((40 + 2))\n');
    await expect.poll(text, { timeout: 90_000 }).toMatch(/\n\s*42\s*\n/);
    expect(await text()).toContain(member(2));
    await opened.picture('dashboard-member');
    await opened.assertAccessible();

    await action(page, 'Reset').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Reset 1 member' }).click();
    await expect.poll(() => results(page).textContent(), { timeout: 30_000 }).toMatch(/Reset 1 member .*1 reset/);
    await page.getByRole('button', { name: 'Connect again' }).click();
    await expect.poll(text, { timeout: 90_000 }).toMatch(/TINY-READY/);
    expect(opened.faults).toEqual([]);
  });

  it('reports an action that fails as a whole, for each action, and tries it again', async () => {
    await go(`#/fleet/${fleet}`);
    await lab.ok('stop', fleet, '5', '--force', '--timeout', '1s');
    await cells(page).nth(4).waitFor();
    const lock = lab.path('fleets', `.${fleet}.lock`);
    const holder = execa('flock', ['--no-fork', lock, 'sleep', '600'], { reject: false });
    await expect.poll(async () => (await execa('flock', ['-n', lock, 'true'], { reject: false })).exitCode).toBe(1);
    try {
      for (const [label, index] of [
        ['Start', 5],
        ['Stop', 4],
        ['Reset', 4],
        ['Checkpoint', 4],
        ['Tear down', 4],
      ] as const) {
        await choose(index);
        await action(page, label).click();
        const dialog = page.getByRole('dialog');
        if (label === 'Tear down') await dialog.getByRole('textbox').fill(fleet);
        await dialog.getByRole('button', { name: `${label} 1 member` }).click();
        const result = results(page)
          .getByRole('article')
          .filter({ hasText: `${label} 1 member` })
          .first();
        await expect.poll(() => result.textContent(), { timeout: 15_000 }).toMatch(/locked/);
        if (label === 'Start') continue;
        await result.getByRole('button', { name: 'Dismiss' }).click();
      }
    } finally {
      holder.kill('SIGKILL');
      await holder;
    }
    await results(page)
      .getByRole('button', { name: /Try again/ })
      .click();
    await page.getByRole('dialog').getByRole('button', { name: 'Start 1 member' }).click();
    await expect.poll(() => results(page).textContent(), { timeout: 15_000 }).toMatch(/1 started/);
    await expect.poll(() => cell(page, member(5)).getAttribute('aria-label')).toMatch(/running/);
  });

  it('reports members that fail, and tries only these again', async () => {
    await lab.ok('stop', fleet, '4,5', '--force', '--timeout', '1s');
    // QEMU cannot get the lock of a disk that another program has open.
    const user = execa('qemu-io', ['-f', 'qcow2', lab.overlay(fleet, member(4))], { stdin: 'pipe', reject: false });
    try {
      await choose(4, 5);
      await action(page, 'Start').click();
      await page.getByRole('dialog').getByRole('button', { name: 'Start 2 members' }).click();
      await expect.poll(() => results(page).textContent(), { timeout: 30_000 }).toMatch(/1 started, 1 failed/);
      expect(await results(page).textContent()).toContain(member(4));
    } finally {
      user.stdin.end();
      await user;
    }
    await results(page).getByRole('button', { name: 'Retry failed (1)' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Start 1 member' }).click();
    await expect.poll(() => cell(page, member(4)).getAttribute('aria-label'), { timeout: 15_000 }).toMatch(/running/);
  });

  it('is used with the keyboard alone', async () => {
    const { page: keys } = await run.open(browser, screen);
    const focused = (): Promise<string> =>
      keys.evaluate(
        () => `${document.activeElement?.getAttribute('role') ?? document.activeElement?.tagName} ${document.activeElement?.textContent}`,
      );
    /** Presses Tab until it is reached. */
    const reach = async (what: RegExp): Promise<void> => {
      for (let press = 0; press < 60; press++) {
        await keys.keyboard.press('Tab');
        if (what.test(await focused())) return;
      }
      throw new Error(`Tab did not reach ${what}, but ${await focused()}`);
    };
    await keys.getByRole('link', { name: fleet }).first().waitFor();
    await reach(new RegExp(`^A ${fleet}$`));
    await keys.keyboard.press('Enter');
    await cells(keys).first().waitFor();
    await reach(/^option/);
    await keys.keyboard.press('ArrowRight');
    await keys.keyboard.press('Space');
    expect(await cell(keys, member(2)).getAttribute('aria-selected')).toBe('true');
    await keys.evaluate(() => document.querySelector('h1')?.focus());
    await reach(/^BUTTON Checkpoint/);
    await keys.keyboard.press('Enter');
    await reach(/^BUTTON Checkpoint 1 member/);
    await keys.keyboard.press('Enter');
    await expect.poll(() => results(keys).textContent(), { timeout: 30_000 }).toMatch(/1 checkpointed/);
  });

  // A fleet that is worth a picture.
  const pictureIt = process.env.COWHERD_SCREENSHOTS ? it : () => undefined;
  pictureIt('is shown in the documentation', async () => {
    const many = lab.fleet('lab');
    await lab.ok('spawn', many, '--base', await lab.golden('boot.qcow2'), '--count', '150', ...guest, '--concurrency', '4');
    await lab.ok('stop', many, '31-38,77', '--force', '--timeout', '1s');
    await lab.ok('reset', many, '1-20,60-90', '--start', 'same');
    const { page: pictured, picture } = await openTo(many);
    await expect.poll(() => cells(pictured).count(), { timeout: 30_000 }).toBe(150);
    await expect.poll(() => pictured.getByText('is running:').count(), { timeout: 30_000 }).toBe(0);
    for (const index of ['041', '042', '043']) await cell(pictured, `${many}-${index}`).click();
    await pictured.getByRole('radio', { name: 'Drift' }).check();
    await picture('dashboard-fleet');
    await lab.ok('teardown', many, '--yes');
  });

  it('says that the server has ended, and continues with the next one', async () => {
    const { port } = run;
    await run.kill();
    const banner = page.locator('.banner');
    await expect.poll(() => banner.textContent()).toMatch(/is not running/);
    run = await DashboardRun.start(lab, '--port', port);
    await expect.poll(() => banner.count(), { timeout: 15_000 }).toBe(0);
    await lab.ok('stop', fleet, '1', '--force', '--timeout', '1s');
    await expect.poll(() => cell(page, member(1)).getAttribute('aria-label'), { timeout: 15_000 }).toMatch(/off/);
    expect(opened.faults.filter((fault) => !/ERR_CONNECTION_REFUSED/.test(fault))).toEqual([]);
  });
});
