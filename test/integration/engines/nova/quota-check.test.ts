import { afterEach, expect, it } from 'vitest';
import { NovaLab, running } from '../../../support/openstack/nova-lab.js';

/** The quota of the project is checked for further servers only. */

let lab: NovaLab;
afterEach(() => lab.close());

it('servers that an interrupted spawn has begun are in the quota already', async () => {
  lab = await NovaLab.open({ quota: { instances: 3 }, times: { create: 60_000 } });
  const cancelled = new AbortController();
  lab.cloud.fake.on(({ method, path }) => {
    if (method === 'GET' && path.includes('/servers/detail') && lab.members.length === 3) cancelled.abort();
    return undefined;
  });
  expect((await lab.spawn(3, { signal: cancelled.signal })).operation.interrupted).toBe(true);
  expect(lab.states.map(([, state]) => state)).toEqual(['building', 'building', 'building']);
  expect((await (await lab.engine()).resume({ fleet: 'lab' })).counts).toMatchObject({ created: 3, failed: 0 });
  expect(lab.states).toEqual(running(3));
  await expect(lab.spawn(4, { base: undefined })).rejects.toMatchObject({
    ...{ code: 'PREFLIGHT_FAILED', message: expect.stringContaining('1 more servers needed, 3 of 3 in use') },
  });
});
