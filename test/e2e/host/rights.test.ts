import { chmod, mkdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab } from '../../support/lab.js';

describe('a host with missing permissions', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
    await lab.golden('golden.qcow2');
  });
  afterAll(() => lab.close());

  const spawning = (fleet: string, count: number, ...more: string[]): string[] => [
    'spawn',
    fleet,
    ...['--base', `${lab.scratch}/golden.qcow2`, '--count', String(count), ...guest, ...more],
  ];

  it('names the directory that QEMU cannot enter, before and after a failed start', async () => {
    const closed = lab.path('closed');
    await mkdir(lab.store, { mode: 0o755, recursive: true });
    await mkdir(closed, { mode: 0o700 });
    const store = ['--store', `${closed}/store`];
    const fleet = lab.fleet('closed');
    const refused = await lab.answer(...spawning(fleet, 1), ...store);
    expect(refused.exitCode).toBe(3);
    expect(refused.json.error).toMatchObject({
      message: expect.stringContaining(closed),
      hint: expect.stringContaining(`chmod o+x ${closed}`),
    });
    const forced = await lab.answer(...spawning(fleet, 1, '--force'), ...store);
    expect(forced.exitCode).toBe(4);
    expect(forced.json.members[0].error).toMatchObject({
      message: expect.stringContaining('Permission denied'),
      hint: `Grant access: chmod o+x ${closed}`,
    });
    await chmod(closed, 0o711);
    expect((await lab.ok('start', fleet, ...store)).counts).toMatchObject({ started: 1 });
    await lab.ok('teardown', fleet, '--yes', ...store);
  });

  it('reports a file in place of the store, rather than no fleets', async () => {
    for (const store of ['/etc/passwd', '/etc/passwd/store']) {
      const { exitCode, json } = await lab.answer('status', 'lab', '--store', store);
      expect([exitCode, json.error]).toEqual([2, expect.objectContaining({ message: `The store ${store} is not a directory` })]);
    }
  });
});
