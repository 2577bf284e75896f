import { describe, expect, it } from 'vitest';
import type { Ports } from '../../src/ports/index.js';
import { checkDisk } from '../../src/services/preflight/checks.js';

const GiB = 1024 ** 3;

describe('the free space of a store', () => {
  it.each([
    // The minimum is 1 GiB, 5 % of the file system, or 10 GiB if 5 % is more.
    [4, 0.9, 'failed'],
    [4, 1, 'ok'],
    [100, 4.9, 'failed'],
    [100, 5, 'ok'],
    [4096, 9.9, 'failed'],
    [4096, 10, 'ok'],
    [4096, 190, 'ok'],
  ])('of %d GiB in all, %d GiB free: %s', async (total, free, status) => {
    const ports = {
      machine: { diskSpace: async () => ({ freeBytes: free * GiB, totalBytes: total * GiB }) },
      fleets: { root: '/store' },
    } as unknown as Ports;
    const [check] = await checkDisk(ports);
    expect(check).toMatchObject({ name: 'free disk', status });
    if (status === 'failed') expect(check?.message).toMatch(/ free \(\d+ %\) in \/store, less than \d+(\.\d+)? GiB$/);
  });
});
