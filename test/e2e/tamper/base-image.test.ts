import { appendFile, chmod, chown, copyFile, mkdir, rename, rm, stat, symlink, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { guest } from '../../support/lab.js';
import { inLong } from '../../support/long.js';
import { type Expected, TamperLab } from '../../support/scenarios/tamper-lab.js';

describe('tampering with a base image', () => {
  const { lab, golden, other, fleet, imagePath, world, answer, expectRefusals, overwrite, copyOf } = TamperLab.use();

  const changed: Record<string, Expected> = {
    'start F 2': '7 BASE_CHANGED',
    'reset F': '7 BASE_CHANGED',
    'spawn F': '7 BASE_CHANGED',
    'spawn F --count 4': '7 BASE_CHANGED',
    'promote F 2 --as new': '7 BASE_CHANGED',
    'compact F 2': '4 BASE_CHANGED',
    'rebase F --base golden --dry-run': '7 BASE_CHANGED',
    'base verify golden': '7 BASE_CHANGED',
    'base list': '0',
    'report F': '0',
    'teardown F --dry-run': '0',
  };
  const damaged = { ...changed, 'report F': '7 STATE_DAMAGED' };
  for (const [line, code] of Object.entries(damaged)) damaged[line as keyof typeof damaged] = code.replace('BASE_CHANGED', 'STATE_DAMAGED');
  const gone = {
    ...changed,
    'report F': '7 BASE_CHANGED',
    'base verify golden': '5 BASE_NOT_FOUND',
    'rebase F --base golden --dry-run': '5 BASE_NOT_FOUND',
  };

  type Case = [string, (image: string, record: string) => Promise<unknown>, Record<string, Expected>];
  const baseCases: Case[] = [
    ['one byte is changed in place', (image) => overwrite(image, 300_000, 'Z'), changed],
    ['another image is renamed over it', async (image) => rename(await copyOf(other, image), image), changed],
    ['it is deleted', (image) => rm(image), changed],
    ['its record is cut short', (_, record) => truncate(record, 100), damaged],
    ['its directory is renamed', (image) => rename(dirname(image), `${dirname(image)}-x`), gone],
    ...inLong<Case>([
      ['it is truncated', (image) => truncate(image, 1000), changed],
      ['it is extended', (image) => appendFile(image, 'x'), changed],
      ['a copy of it is renamed over it', async (image) => rename(await copyOf(image, image), image), changed],
      ['it is a directory', async (image) => rm(image).then(() => mkdir(image)), changed],
      ['it is a link', async (image) => rename(image, `${image}.x`).then(() => symlink(`${image}.x`, image)), changed],
      ['its record is deleted', (_, record) => rm(record), gone],
      [
        'its record is of another image',
        async (_, record) => copyFile((await imagePath('other')).replace('.qcow2', '.json'), record),
        damaged,
      ],
    ]),
  ];

  it.each(baseCases)('of a base image: %s', async (what, tamper, expected) => {
    const image = await imagePath('golden');
    await tamper(image, image.replace('.qcow2', '.json'));
    await expectRefusals(what, expected);
    const { base, counts } = await lab.ok('status', fleet);
    expect([base.problem, counts.broken]).toEqual([expect.stringMatching(/\w/), 3]);
    // Following the hint fixes it, and the running member was not affected.
    const [, options = ''] = /cowherd base add FILE (--name \w+)/.exec((await answer('start', fleet, '2')).hint) ?? [];
    expect(options).toBe('--name golden');
    if ((await stat(image).catch(() => undefined))?.isDirectory() === true) {
      expect((await answer('base', 'add', golden, ...options.split(' '))).hint).toContain('Move it away');
      await rm(image, { recursive: true });
    }
    await lab.ok('base', 'add', golden, ...options.split(' '));
    await lab.ok('base', 'verify', 'golden');
    await rm(`${dirname(image)}-x`, { recursive: true, force: true });
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 1, shutOff: 2 });
  });

  it('of a base image: changes that its seal does not show are found by reading its content', async () => {
    const image = await imagePath('golden');
    const { mtimeNs } = await stat(image, { bigint: true });
    await overwrite(image, 300_000, 'Z');
    await execa('touch', ['-d', `@${mtimeNs / 10n ** 9n}.${String(mtimeNs % 10n ** 9n).padStart(9, '0')}`, image]);
    expect((await lab.ok('status', fleet)).base.problem).toBeNull();
    expect((await answer('base', 'verify', 'golden')).got).toBe('7 BASE_CHANGED');
    // An import of the same file would find an existing image: its content must be restored by hand.
    await rm(image);
    await lab.ok('base', 'add', golden, '--name', 'golden');
    // Its owner does not matter; a warning says that it is writable.
    await chmod(image, 0o666);
    await chown(image, 1, 1);
    expect((await lab.ok('base', 'verify', 'golden')).warning).toContain(`chmod a-w ${image}`);
    await chmod(image, 0o444);
    expect(await lab.ok('base', 'verify', 'golden')).not.toHaveProperty('warning');
  });

  it('of the backing image of a layered base image', async () => {
    const child = lab.fleet('l');
    await lab.ok('start', fleet, '3', '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '3');
    await lab.ok('promote', fleet, '3', '--as', 'layer', '--layered');
    await lab.ok('spawn', child, '--base', 'layer', '--count', '1', ...guest, '--no-start');
    const image = await imagePath('golden');
    const cases: Array<[() => Promise<unknown>, Expected]> = [
      [() => overwrite(image, 300_000, 'Z'), '7 BASE_CHANGED'],
      [() => rm(image), '7 BASE_CHANGED'],
      [() => rm(image.replace('.qcow2', '.json')), '7 BASE_CHANGED'],
    ];
    for (const [tamper, expected] of cases) {
      await tamper();
      const before = await world();
      for (const words of [
        ['start', child],
        ['reset', child],
        ['spawn', child],
        ['promote', child, '1', '--as', 'new'],
        ['base', 'verify', 'layer'],
        ['base', 'export', 'layer', join(lab.scratch, 'x.qcow2')],
      ]) {
        const reply = await answer(...words);
        expect([words, reply.got, reply.hint]).toEqual([words, expected, expect.stringContaining('cowherd base add FILE --name golden')]);
      }
      expect(await world()).toEqual(before);
      await lab.ok('base', 'add', golden, '--name', 'golden');
      await lab.ok('base', 'verify', 'layer');
    }
    await lab.ok('start', child, '--wait', 'console=^OK');
    await lab.ok('teardown', child, '--yes', '--with-base');
  });
});
