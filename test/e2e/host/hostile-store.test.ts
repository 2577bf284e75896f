import { link, lstat, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, virsh } from '../../support/lab.js';
import { isAllowed, traced } from '../../support/terminal/tracer.js';

/** Links placed in the store: no command writes through them. strace shows every file that a command or its tools touch. */

describe('a store with links in it', () => {
  let lab: Lab;
  let fleet: string;
  const outside = (name: string): string => join(lab.scratch, 'outside', name);

  async function harmless(...args: string[]) {
    const run = await traced(lab, ...args);
    expect(run.strange).toEqual([]);
    expect(await readFile(outside('victim'), 'utf8')).toBe('mine');
    expect((await stat(outside('victim'))).mode & 0o777).toBe(0o644);
    return run;
  }

  beforeAll(async () => {
    lab = await Lab.open();
    fleet = lab.fleet('links');
    await mkdir(outside('room'), { recursive: true });
    await writeFile(outside('victim'), 'mine', { mode: 0o644 });
    const golden = await lab.golden('golden.qcow2');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', '--no-start', '--json', ...guest);
  });
  afterAll(() => lab.close());

  it('writes only inside the store', async () => {
    const { touched, exitCode } = await harmless('reset', fleet);
    expect(exitCode).toBe(0);
    expect(touched.some((path) => path.includes('/overlays/'))).toBe(true);
    // The same trace, compared with another list, to show that this test can fail.
    expect(touched.map((path) => path.replace(lab.store, '/elsewhere')).every((path) => isAllowed(lab, path))).toBe(false);
  });

  it.each(['operation.log', 'fleet.json'])('does not write through %s', async (name) => {
    const path = lab.path('fleets', fleet, name);
    const kept = await readFile(path).catch(() => undefined);
    await rm(path, { force: true });
    await symlink(outside('victim'), path);
    await harmless('reset', fleet);
    await rm(path, { force: true });
    if (kept !== undefined) await writeFile(path, kept);
    await rm(lab.path('fleets', fleet, 'operation.json'), { force: true });
  });

  it.each(['overlays', 'logs'])('does nothing in %s if it leads elsewhere', async (room) => {
    const path = lab.path('fleets', fleet, room);
    await rename(path, `${path}.kept`).catch(() => undefined);
    await symlink(outside('room'), path);
    for (const args of [
      ['reset', fleet],
      ['teardown', fleet, '--yes'],
    ]) {
      const { exitCode, strange } = await traced(lab, ...args);
      expect(strange).toEqual([]);
      expect(exitCode).toBeOneOf([4, 8]);
    }
    expect(await lstat(path).then((stats) => stats.isSymbolicLink())).toBe(true);
    await rm(path);
    await rename(`${path}.kept`, path).catch(() => undefined);
  });

  it('does not start a member on an overlay with another hard link', async () => {
    const member = `${fleet}-001`;
    const overlay = lab.overlay(fleet, member);
    const { path: base, digest } = (await lab.ok('base', 'list')).bases[0];
    for (const other of [base, lab.overlay(fleet, `${fleet}-002`)]) {
      await rename(overlay, `${overlay}.kept`);
      await link(other, overlay);
      for (const args of [
        ['start', fleet, '1'],
        ['spawn', fleet],
        ['promote', member, '--as', 'stolen'],
        ['compact', fleet, '1'],
      ]) {
        const { exitCode } = await lab.answer(...args);
        expect([args[0], exitCode]).toEqual([args[0], expect.toBeOneOf([2, 3, 4, 7])]);
      }
      expect((await virsh('domstate', member)).trim()).toBe('shut off');
      // A reset replaces it with a new file.
      await lab.ok('reset', fleet, '1');
      expect((await lstat(overlay)).nlink).toBe(1);
      await rm(`${overlay}.kept`);
    }
    // A symbolic link counts as a missing overlay, which spawn creates.
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    await rename(overlay, `${overlay}.kept`);
    await symlink(base, overlay);
    expect((await lab.answer('start', fleet, '1')).exitCode).toBe(4);
    await lab.ok('spawn', fleet);
    expect((await lstat(overlay)).isFile()).toBe(true);
    await rm(`${overlay}.kept`);
    expect((await lab.ok('base', 'verify', 'golden')).digest).toBe(digest);
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
  });
});
