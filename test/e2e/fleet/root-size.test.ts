import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, virsh } from '../../support/lab.js';

const MiB = 1024 ** 2;

describe('a first disk that is larger than its base image', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
  });
  afterAll(() => lab.close());

  /** Size in MiB, from the file. */
  async function size(fleet: string, index: number): Promise<number> {
    const { stdout } = await execa('qemu-img', ['info', '-U', '--output=json', lab.overlay(fleet, `${fleet}-00${index}`)]);
    return JSON.parse(stdout)['virtual-size'] / MiB;
  }
  /** Size in MiB, as the running guest sees it. */
  const seen = async (fleet: string, index: number): Promise<number> =>
    Number(/Capacity:\s+(\d+)/.exec(await virsh('domblkinfo', `${fleet}-00${index}`, 'vda'))?.[1]) / MiB;
  const enlarge = (fleet: string, index: number, to: number) =>
    execa('qemu-img', ['resize', '-f', 'qcow2', lab.overlay(fleet, `${fleet}-00${index}`), `${to}M`]);
  /** Follows the hint exactly. */
  const follow = (hint: string) => lab.ok(...(/cowherd (spawn \S+ --disk-size \w+)/.exec(hint)?.[1] ?? '').split(' '));

  it('is created, grows, and never shrinks by a reset or a rebase', async () => {
    const fleet = lab.fleet('size');
    const spawn = ['spawn', fleet, '--base', golden, '--count', '2', ...guest];
    const small = await lab.answer(...spawn, '--disk-size', '32MiB');
    expect([small.exitCode, small.json.error.message]).toEqual([2, 'A disk of 32 MiB is smaller than its base image golden (64 MiB)']);
    expect(small.json.error.hint).toContain('--disk-size 64MiB');
    await lab.ok(...spawn, '--disk-size', '96MiB');
    expect([await size(fleet, 1), await seen(fleet, 2)]).toEqual([96, 96]);
    expect((await lab.answer('spawn', fleet, '--disk-size', '80MiB')).json.error.message).toMatch(
      /have 96 MiB and cannot shrink to 80 MiB$/,
    );
    await lab.ok('reset', fleet);
    expect([await seen(fleet, 1), await seen(fleet, 2)]).toEqual([96, 96]);

    // A running guest sees it at once, a stopped one at its next start.
    await lab.ok('stop', fleet, '2', '--timeout', '1s', '--force');
    const grown = await lab.ok('spawn', fleet, '--disk-size', '128MiB', '--no-start');
    expect(grown.notes.join()).toContain('the disks of members 1-2 grow to 128 MiB');
    expect([await seen(fleet, 1), await size(fleet, 2)]).toEqual([128, 128]);
    expect((await lab.ok('spawn', fleet, '--no-start')).counts).toMatchObject({ unchanged: 2 });
    expect((await lab.ok('report', fleet)).fullCopies.virtualBytes).toBe(256 * MiB);

    // Enlarged by hand: it does not shrink, and following the hint helps.
    await enlarge(fleet, 2, 160);
    const refused = await lab.answer('reset', fleet);
    expect([refused.exitCode, refused.json.counts]).toMatchObject([4, { reset: 1, failed: 1 }]);
    expect([await seen(fleet, 1), await size(fleet, 2)]).toEqual([128, 160]);
    const moved = await lab.answer('rebase', fleet, '--base', await lab.golden('other.qcow2', { filledMiB: 1 }));
    expect([moved.exitCode, moved.json.error.details]).toEqual([3, [`${fleet}-002: 160 MiB`]]);
    await follow(refused.json.members[1].error.hint);
    await lab.ok('reset', fleet);
    expect([await seen(fleet, 1), await size(fleet, 2)]).toEqual([160, 160]);

    // Verbs that copy the disk keep its size.
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    await lab.ok('compact', fleet);
    expect(await size(fleet, 1)).toBe(160);
    for (const layered of [[], ['--layered']])
      expect((await lab.ok('promote', `${fleet}-001`, '--as', `grown${layered.length}`, ...layered)).virtualBytes).toBe(160 * MiB);

    // A smaller base image does not shrink it; a larger one enlarges it.
    await lab.ok('rebase', fleet, '--base', 'other');
    expect(await size(fleet, 2)).toBe(160);
    await lab.ok('rebase', fleet, '--base', await lab.golden('large.qcow2', { virtualMiB: 200 }));
    expect([await size(fleet, 1), await size(fleet, 2)]).toEqual([200, 200]);
    await lab.ok('reset', fleet);
    expect([await size(fleet, 1), (await lab.ok('verify')).findings]).toEqual([200, []]);
    await lab.ok('teardown', fleet, '--yes');
  });
});
