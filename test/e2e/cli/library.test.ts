import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fleet, spawnFleet } from '../../../src/index.js';
import { guest, Lab, uri } from '../../support/lab.js';

describe('a fleet as an object', () => {
  let lab: Lab;
  let base: string;
  beforeAll(async () => {
    lab = await Lab.open();
    base = await lab.golden('golden.qcow2');
  });
  afterAll(() => lab.close());

  const small = () => ({ base, count: 1, connect: uri, store: lab.store, spec: { memoryMiB: 16, network: 'none' } });

  it('is removed when it goes out of scope', async () => {
    const name = lab.fleet('scope');
    let seen: Fleet;
    {
      await using fleet = await spawnFleet({ ...small(), name, wait: 'console=^OK' });
      seen = fleet;
      expect((await fleet.status()).counts.running).toBe(1);
    }
    expect(seen.members.map((member) => member.name)).toEqual([`${name}-001`]);
    expect((await lab.ok('list')).fleets).toEqual([]);
  });

  it('is never an existing fleet, and leaves nothing behind if it does not become ready', async () => {
    const name = lab.fleet('before');
    await lab.ok('spawn', name, '--base', base, '--count', '2', ...guest);
    await expect(spawnFleet({ ...small(), name })).rejects.toMatchObject({ code: 'BAD_USAGE', hint: expect.stringContaining('keep') });
    expect((await lab.ok('status', name)).counts.running).toBe(2);
    await lab.ok('teardown', name, '--yes');

    const late = spawnFleet({ ...small(), name, wait: 'agent', timeoutMs: 1_000 });
    await expect(late).rejects.toMatchObject({ code: 'PARTIAL', details: [expect.stringContaining('did not reach stage agent')] });
    expect((await lab.ok('list')).fleets).toEqual([]);
  });
});
