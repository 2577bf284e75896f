import { describe, expect, inject, it } from 'vitest';
import { domains } from '../../support/lab.js';
import { inLong } from '../../support/long.js';
import { PrepareLab } from '../../support/prepare-lab.js';

describe('base prepare that was killed', () => {
  const lab = PrepareLab.here(async () => {
    // Its own import is not what is killed.
    await lab.ok('base', 'add', inject('tinyImage'));
  });

  it.each<[when: string, on: string, late: string | undefined]>([
    ['while the disk is copied', '^qemu-img convert', '1'],
    ...inLong<[string, string, string | undefined]>([
      ['before the VM is defined', '^virsh define', undefined],
      ['while the VM starts', '^virsh start', '1'],
      ['before the shutdown', '^virsh shutdown', undefined],
      ['before the image is in place', '^rename .*\\.partial', undefined],
      ['after the image is complete', '^virsh undefine', undefined],
    ]),
  ])('%s works when it is run again, and leaves nothing besides', async (_when, on, late) => {
    const image = `k${on.replace(/\W/g, '').slice(0, 12)}`.toLowerCase();
    // Every preparation has another result.
    const words = lab.words(image, '--run', 'cat /proc/sys/kernel/random/uuid >/etc/stamp', '--generalize');
    const killed = await lab.faulty({ KILL_AT: '1', KILL_ON: on, ...(late === undefined ? {} : { KILL_LATE: late }) }, ...words);
    expect(killed).toMatchObject({ signal: 'SIGKILL' });
    expect((await lab.ok(...words)).name).toBe(lab.fleet(image));
    expect(await lab.images(image)).toHaveLength(1);
    expect((await domains()).filter((name) => name.includes(lab.id))).toEqual([]);
    await lab.expectNothingLeft();
  });
});
