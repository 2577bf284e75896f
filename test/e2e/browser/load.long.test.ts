import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { execa } from 'execa';
import { afterAll, describe, expect, it } from 'vitest';
import { memberIdentity } from '../../../src/core/fleet/identity.js';
import { TestBrowser } from '../../support/browser/browser.js';
import { guest, Lab } from '../../support/lab.js';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
/** Below the repository, where its packages and the page are found. */
const server = `${repository}node_modules/.cache/cowherd/busy-host.mjs`;
const count = 1_000;
const changesPerSecond = 100;
const minutes = Number(process.env.COWHERD_LOAD_MINUTES ?? 10);
const MiB = 2 ** 20;

describe(`the dashboard with ${count} members and ${changesPerSecond} changes per second`, () => {
  const browser = TestBrowser.use();
  const lab = Lab.use();
  const fleet = lab.fleet('load');
  const kill = new AbortController();
  afterAll(async () => {
    kill.abort();
    await rm(server, { force: true });
  });

  /** One real member, and copies of its record and overlay. */
  async function enlarge(): Promise<void> {
    await lab.ok('spawn', fleet, '--base', await lab.golden('golden.qcow2'), '--count', '1', ...guest);
    const path = lab.path('fleets', fleet, 'fleet.json');
    const record = JSON.parse(await readFile(path, 'utf8'));
    record.members = Array.from({ length: count }, (_, position) => memberIdentity(fleet, record.id, position + 1, 0));
    const [first] = record.members;
    for (const { name } of record.members.slice(1)) await copyFile(lab.overlay(fleet, first.name), lab.overlay(fleet, name));
    await writeFile(path, JSON.stringify(record));
  }

  it('uses little memory, and never blocks the page for long', async () => {
    await enlarge();
    // A loader for TypeScript would count as memory of the server.
    await build({
      entryPoints: [`${repository}test/fakes/busy-host.ts`],
      outfile: server,
      bundle: true,
      packages: 'external',
      platform: 'node',
      format: 'esm',
    });
    const run = execa(process.execPath, [server, lab.store, fleet, String(changesPerSecond)], {
      env: lab.env,
      cancelSignal: kill.signal,
      reject: false,
    });
    const lines = createInterface({ input: run.stdout });
    const resident: number[] = [];
    const url = await new Promise<string>((resolve) => {
      lines.once('line', (line) => {
        resolve(line);
        lines.on('line', (text) => resident.push(Number(text)));
      });
    });
    const { page, faults } = await browser.open(`//${new URL(url).host}/`, { viewport: { width: 1400, height: 1000 } });
    await page.goto(url);
    await page.evaluate((name) => location.assign(`#/fleet/${name}`), fleet);
    await expect.poll(() => page.getByRole('listbox').getByRole('option').count(), { timeout: 60_000 }).toBe(count);
    // The first view of all members is not a change.
    await page.waitForTimeout(5_000);
    await page.evaluate(() => {
      const seen = { longest: 0, frames: 0, changes: 0 };
      Object.assign(globalThis, { seen });
      let last = performance.now();
      const frame = (now: number): void => {
        seen.longest = Math.max(seen.longest, now - last);
        seen.frames += 1;
        last = now;
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
      const cells = document.querySelector('[role=listbox]') ?? document.body;
      new MutationObserver((mutations) => {
        seen.changes += mutations.length;
      }).observe(cells, { subtree: true, attributes: true, attributeFilter: ['aria-label'] });
    });
    const session = await page.context().newCDPSession(page);
    await session.send('Performance.enable');
    const heaps: number[] = [];
    for (let minute = 0; minute < minutes; minute++) {
      await page.waitForTimeout(60_000);
      await session.send('HeapProfiler.collectGarbage');
      const { metrics } = await session.send('Performance.getMetrics');
      heaps.push(metrics.find(({ name }) => name === 'JSHeapUsedSize')?.value ?? Number.NaN);
    }
    const { longest, frames, changes } = await page.evaluate(() => (globalThis as any).seen);
    const figures = {
      changes,
      framesPerSecond: Math.round(frames / (60 * minutes)),
      longestFrameMs: Math.round(longest),
      heapMiB: Math.round(Math.max(...heaps) / MiB),
      serverMiB: Math.round(Math.max(...resident) / MiB),
    };
    console.log(JSON.stringify(figures));
    expect(faults).toEqual([]);
    // The page has shown most of the changes: some follow each other within a frame.
    expect.soft(figures.changes).toBeGreaterThan(0.5 * 60 * minutes * changesPerSecond);
    expect.soft(figures.heapMiB).toBeLessThan(150);
    expect.soft(figures.serverMiB).toBeLessThan(200);
    expect.soft(figures.longestFrameMs).toBeLessThanOrEqual(100);
  });
});
