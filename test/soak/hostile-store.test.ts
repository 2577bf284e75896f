import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab } from '../support/lab.js';
import { traced } from '../support/terminal/tracer.js';

/** Links in place of cowherd's own files, and every command under strace. */
describe('a store with links in it', () => {
  let lab: Lab;
  let fleet: string;
  const outside = (name: string): string => join(lab.scratch, 'outside', name);
  beforeAll(async () => {
    lab = await Lab.open();
    fleet = lab.fleet('links');
    await mkdir(outside('room'), { recursive: true });
    await writeFile(outside('victim'), 'mine', { mode: 0o644 });
    await lab.ok('spawn', fleet, '--base', await lab.golden('golden.qcow2'), '--count', '2', '--no-start', ...guest);
  });
  afterAll(() => lab.close());

  async function harmless(...args: string[]) {
    const run = await traced(lab, ...args);
    expect(run.strange).toEqual([]);
    expect(await readFile(outside('victim'), 'utf8')).toBe('mine');
    return run;
  }

  it('does not write through links in place of its own files', async () => {
    const member = `${fleet}-001`;
    const other = await lab.golden('other.qcow2', { filledMiB: 1 });
    for (const path of [`overlays/${member}.qcow2.new`, `logs/${member}.log`, `nvram/${member}.fd`, `seeds/${member}.iso.new`]) {
      await mkdir(dirname(lab.path('fleets', fleet, path)), { recursive: true });
      await rm(lab.path('fleets', fleet, path), { force: true });
      await symlink(outside('victim'), lab.path('fleets', fleet, path));
    }
    for (const args of [
      ['reset', fleet, '--start', 'all'],
      ['stop', fleet, '--timeout', '1s', '--force'],
      ['logs', member],
      ['spawn', fleet, '--count', '3'],
      ['stop', fleet, '--timeout', '1s', '--force'],
      ['compact', fleet],
      ['promote', member, '--as', 'next', '--layered'],
      ['base', 'add', other],
      ['rebase', fleet, '--base', 'other'],
      ['base', 'prune', '--yes'],
      ['verify', '--fix'],
      ['teardown', fleet, '--yes'],
    ])
      expect([args[0], (await harmless(...args)).exitCode]).toEqual([args[0], expect.toBeOneOf([0, 4, 8])]);
  });
});
