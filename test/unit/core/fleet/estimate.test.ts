import { expect, it } from 'vitest';
import { estimateFleet, totalEstimate } from '../../../../src/core/fleet/estimate.js';

const base = { name: 'golden', digest: 'd'.repeat(64), bytes: 1000 };

it('counts one copy of the base image per host instead of one per member', () => {
  expect(estimateFleet({ fleet: 'lab', members: 12, base, hosts: 2 })).toMatchObject({
    fullCopies: { bytes: 12_000 },
    shared: { bytes: 2_000 },
    saved: { bytes: 10_000, percent: 83.3 },
  });
});

it.each([
  ['the hosts are not known', { members: 12, hosts: null }],
  ['every member has a host of its own', { members: 2, hosts: 2 }],
  ['there are no members', { members: 0, hosts: 0 }],
])('claims no savings if %s', (_title, counts) => {
  expect(estimateFleet({ fleet: 'lab', base, ...counts }).saved.bytes).toBe(0);
});

it('adds up fleets', () => {
  const fleets = [estimateFleet({ fleet: 'a', members: 4, base, hosts: 1 }), estimateFleet({ fleet: 'b', members: 2, base, hosts: 1 })];
  expect(totalEstimate(fleets).total).toEqual({
    members: 6,
    fullCopies: { bytes: 6000 },
    shared: { bytes: 2000 },
    saved: { bytes: 4000, percent: 66.7 },
  });
});
