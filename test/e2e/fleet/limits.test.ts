import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, until } from '../../support/lab.js';

/** Uses SIGHUP: Node handles the other signals from its start. */
async function listensToSignals(pid: number | undefined): Promise<boolean> {
  const caught = /^SigCgt:\s+([0-9a-f]+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${caught}`) & 1n) !== 0n;
}

describe('limits on the command line', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
    await lab.ok('base', 'add', await lab.golden('golden.qcow2'), '--name', 'golden');
  });
  afterAll(() => lab.close());

  const spawning = (count: number | string, ...more: string[]): string[] => [
    ...['spawn', lab.fleet('limits'), '--base', 'golden', '--count', String(count), '--virt-type', 'qemu', '--dry-run', '--force'],
    ...more,
  ];

  it.each([
    ['--count', '10001', '10000'],
    ['--count', '3000000', '10000'],
    ['--count', '4294967296', '10000'],
    ['--count', '9'.repeat(40), '10000'],
    ['--vcpus', '513', '512'],
    ['--memory', '17TiB', '16 TiB'],
    ['--memory', '3', '4 MiB'],
    ['--disk', '65TiB', '64 TiB'],
    ['--concurrency', '257', '256'],
    ['--timeout', '25h', '24h'],
  ])('refuses %s %s and says what the most is', async (flag, value, limit) => {
    const { exitCode, json } = await lab.answer(...(flag === '--count' ? spawning(value) : spawning(3, flag, value)));
    expect([exitCode, json.error.code]).toEqual([2, 'BAD_USAGE']);
    expect(JSON.stringify(json.error)).toContain(limit);
  });

  it('ends at a signal during a computation', async () => {
    // Host keys are derived for each member: many seconds of computing.
    const run = lab.begin(...spawning(10_000, ...guest, '--seed', 'nocloud'));
    await until('cowherd to listen to signals', () => listensToSignals(run.pid));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const sent = performance.now();
    run.kill('SIGTERM');
    const { exitCode, stderr } = await run;
    expect([exitCode, stderr]).toEqual([130, expect.stringContaining('Interrupted while planning')]);
    expect(performance.now() - sent).toBeLessThan(20_000);
  });
});
