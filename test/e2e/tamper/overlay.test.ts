import { copyFile, cp, lstat, readdir, rm, symlink, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { follow } from '../../support/hints/follow.js';
import { inLong } from '../../support/long.js';
import { type Expected, TamperLab } from '../../support/scenarios/tamper-lab.js';

describe('tampering with an overlay', () => {
  const { lab, golden, other, fleet, name, overlay, imagePath, world, answer, expectRefusals, overlayOn } = TamperLab.use();

  /** Also to another file system. */
  const move = (from: string, to: string) => execa('mv', [from, to]);
  const refused: Record<string, Expected> = {
    'start F 2': '4 REFUSED',
    'promote F 2 --as new': '7 BASE_REFUSED',
    'compact F 2': '4 BASE_REFUSED',
  };
  const missing = { 'start F 2': '4 REFUSED', 'promote F 2 --as new': '5 MEMBER_NOT_FOUND', 'compact F 2': '4 MEMBER_NOT_FOUND' };
  type Case = [string, (path: string) => Promise<unknown>, Record<string, Expected>];
  const overlayCases: Case[] = [
    ['is deleted', (path) => rm(path), missing],
    ['is cut short', (path) => truncate(path, 70_000), refused],
    ['is one of another fleet, on another image', async (path) => overlayOn(await imagePath('other'), path), refused],
    [
      'is a link to elsewhere',
      (path) => move(path, join(lab.scratch, 'away')).then(() => symlink(join(lab.scratch, 'away'), path)),
      missing,
    ],
    ...inLong<Case>([
      ['is emptied', (path) => truncate(path, 0), refused],
      ['stands on another base image', (path) => overlayOn(other, path), refused],
      [
        'names another file by qemu-img rebase -u',
        (path) => execa('qemu-img', ['rebase', '-u', '-F', 'qcow2', '-b', golden, path]),
        refused,
      ],
      ['is a raw file', (path) => rm(path).then(() => execa('qemu-img', ['convert', '-O', 'raw', golden, path])), refused],
      ['is an image that stands alone', (path) => copyFile(golden, path), refused],
      [
        'is a directory with something in it',
        (path) => rm(path).then(() => cp(lab.path('bases', 'other'), path, { recursive: true })),
        missing,
      ],
    ]),
  ];

  it.each(overlayCases)('of an overlay: it %s', async (what, tamper, expected) => {
    const path = overlay(2);
    await tamper(path);
    await expectRefusals(what, { 'report F': '0', 'rebase F 2 --base other --dry-run': '2 BAD_USAGE', ...expected });
    const { hint } = await answer('start', fleet, '2');
    expect(hint).toContain(`cowherd reset ${fleet} 2`);
    if ((await lstat(path).catch(() => undefined))?.isDirectory() === true) {
      const reply = await answer('reset', fleet, '2');
      expect([reply.got, reply.hint]).toEqual(['4 STORE_FAILED', expect.stringContaining('Move it away')]);
      expect(await readdir(path)).not.toEqual([]);
      await move(path, join(lab.scratch, 'aside'));
    }
    const before = await world();
    await lab.ok('reset', fleet, '2', '--start', 'none');
    const { stdout } = await execa('qemu-img', ['info', '-f', 'qcow2', path]);
    expect(stdout).toContain(`backing file: ${await imagePath('golden')}`);
    if (what.includes('cut')) {
      await lab.ok('start', fleet, '2', '--wait', 'console=^OK');
      await lab.ok('stop', fleet, '2');
      expect((await lab.marker(fleet, name(2)))?.boots).toBe(1);
    }
    // No other member was changed.
    const mine = (key: string): boolean =>
      key.includes(`${name(2)}`) || ['placed.log', 'known_hosts', 'history.jsonl'].some((file) => key.endsWith(file));
    const others = (all: Map<string, string>): object => Object.fromEntries([...all].filter(([key]) => !mine(key)));
    expect(others(await world())).toEqual(others(before));
  });

  it('of an overlay: it gets a snapshot, which a copy would lose', async () => {
    await execa('qemu-img', ['snapshot', '-c', 'mine', overlay(2)]);
    await expectRefusals('snapshot', { 'promote F 2 --as new': '7 BASE_REFUSED', 'compact F 2': '4 BASE_REFUSED' });
    await follow(lab, (await answer('promote', fleet, '2', '--as', 'new')).hint);
    await lab.ok('compact', fleet, '2');
  });
});
