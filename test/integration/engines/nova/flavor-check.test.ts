import { afterEach, beforeEach, expect, it } from 'vitest';
import { fleet, NovaLab } from '../../../support/openstack/nova-lab.js';

/** A flavor that is too small for the image is found before a server is created. */

let lab: NovaLab;
beforeEach(async () => {
  lab = await NovaLab.open();
});
afterEach(() => lab.close());

it.each([
  ['disk', { minDisk: 5 }, 'needs 5 GiB of disk, but flavor cow.tiny has 1'],
  ['memory', { minRam: 512 }, 'needs 512 MiB of memory, but flavor cow.tiny has 128'],
])('%s', async (_what, least, message) => {
  lab.cloud.addImage({ name: 'large', ...least });
  await expect(lab.spawn(2, { base: 'large' })).rejects.toMatchObject({
    ...{ code: 'PREFLIGHT_FAILED', message: expect.stringContaining(message), hint: expect.stringContaining('--flavor') },
  });
  expect([lab.members, await (await lab.engine()).fleetNames()]).toEqual([[], []]);
  const { refusal } = await lab.spawn(2, { base: 'large', dryRun: true });
  expect(refusal).toMatchObject({ code: 'PREFLIGHT_FAILED' });
});

it('a flavor without a disk size takes the size of the image', async () => {
  await lab.close();
  // Others may not use such a flavor.
  lab = await NovaLab.open({ isAdmin: true, flavors: [{ id: 'no-disk', name: 'cow.tiny', ram: 128, vcpus: 1, disk: 0 }] });
  lab.cloud.addImage({ name: 'large', minDisk: 5 });
  expect((await lab.spawn(1, { base: 'large' })).counts).toMatchObject({ created: 1, failed: 0 });
  expect(lab.members.map(({ name }) => name)).toEqual([`${fleet}-001`]);
});
