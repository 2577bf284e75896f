import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, virsh } from '../../support/lab.js';

/** The lineage of a golden image: a member is promoted, and the fleet is rebased onto the new image. */
describe('the lineage of a golden image', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2', { filledMiB: 1 });
  });
  afterAll(() => lab.close());

  it('promote, then rebase a fleet of ten with a canary; then a layer on it', async () => {
    const fleet = lab.fleet('ten');
    const boots = async (index: string): Promise<number | undefined> => (await lab.marker(fleet, `${fleet}-${index}`))?.boots;
    const sha256 = async (path: string): Promise<string> =>
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '10', ...guest, '--wait', 'console=^OK');
    const first = await lab.ok('base', 'inspect', 'golden');
    await lab.ok('stop', fleet, '3', '--timeout', '1s', '--force');

    await lab.ok('promote', `${fleet}-003`, '--as', 'second');
    const outcome = await lab.ok('rebase', fleet, '--base', 'second', '--canary', '1', '--batch', '5', '--wait', 'console=^OK');
    expect(outcome.counts).toMatchObject({ rebased: 10, failed: 0 });
    expect((await lab.ok('status', fleet)).members.map((member: { base: string }) => member.base.split('@')[0])).toEqual(
      Array(10).fill('second'),
    );
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    // The base image contains the first boot of the promoted member.
    for (const index of ['001', '010']) expect(await boots(index)).toBe(2);

    await lab.ok('promote', `${fleet}-005`, '--as', 'third', '--layered');
    const third = await lab.ok('base', 'inspect', 'third');
    expect(third.depth).toBe(2);
    await lab.ok('rebase', fleet, '--base', 'third', '--canary', '2', '--wait', 'console=^OK');
    const xml = await virsh('dumpxml', '--inactive', `${fleet}-007`);
    expect(xml.match(/<backingStore type='file'>/g)).toHaveLength(2);
    expect(xml.indexOf('/bases/third/')).toBeLessThan(xml.indexOf('/bases/second/'));
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    // The canaries were started; the others, which were stopped, have only the content of the layers.
    for (const index of ['001', '002']) expect(await boots(index)).toBe(3);
    expect(await boots('010')).toBe(2);

    // Both layers are in use, and the first one is unchanged.
    for (const name of ['third', 'second']) expect((await lab.answer('base', 'remove', name)).exitCode).toBe(3);
    expect(await sha256(first.path)).toBe(first.digest);
    // Another fleet on a layered base image, reset and reported.
    const other = lab.fleet('layered');
    await lab.ok('spawn', other, '--base', 'third', '--count', '2', ...guest, '--wait', 'console=^OK');
    await lab.ok('reset', other, '--wait', 'console=^OK');
    await lab.ok('stop', other, '--timeout', '1s', '--force');
    expect((await lab.marker(other, `${other}-002`))?.boots).toBe(3);
    expect((await lab.ok('report', other)).bases.files).toHaveLength(2);
    for (const name of [fleet, other]) await lab.ok('teardown', name, '--yes');
  });
});
