import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { HungQemus } from '../../support/hung.js';
import { Lab } from '../../support/lab.js';
import { TestNetwork } from '../../support/network.js';

/**
 * Commands that access guests, on a fleet of Linux guests: the first works, the QEMU of the second is stopped, and the agent of the third
 * hangs with its channel open.
 */

describe('commands in guests, two of which hang', () => {
  let lab: Lab;
  let network: TestNetwork;
  let qemus: HungQemus;
  let fleet: string;
  const name = (index: number): string => `${fleet}-00${index}`;
  /** The longest time for any command here, on a busy machine. */
  const boundMs = 90_000;

  beforeAll(async () => {
    lab = await Lab.open();
    qemus = new HungQemus(lab);
    network = await TestNetwork.open(lab.id, 10, 17);
    fleet = lab.fleet('inside');
    const linux = ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', 'nocloud', '--virt-type', 'qemu'];
    await lab.ok('spawn', fleet, ...linux, '--count', '3', '--network', `network=${network.name}`, '--wait', 'agent,ssh');
    await lab.ok('checkpoint', fleet);
  });
  afterAll(async () => {
    delete process.env.COWHERD_LIBVIRT_TIMEOUT;
    await qemus.goOn();
    await lab.close();
    await network.close();
  });

  /** @returns the answer, and the failed members with their errors */
  const tried = async (...words: string[]): Promise<{ json: any; failed: Record<string, any> }> => {
    const began = performance.now();
    const { json } = await lab.answer(...words);
    if (process.env.CWT_SHOW !== undefined) console.log(words.join(' '), Math.round((performance.now() - began) / 100) / 10);
    expect(performance.now() - began, words.join(' ')).toBeLessThan(boundMs);
    expect(json.error, JSON.stringify(json)).toBeUndefined();
    const rows = (Array.isArray(json.members) ? json.members : []) as any[];
    const failed = rows.filter((row) => row.error !== undefined || row.outcome === 'failed');
    for (const { name: who, error } of failed) {
      expect(error.message, JSON.stringify(error)).toContain(who);
      expect(error.hint, JSON.stringify(error)).toMatch(/\S/);
    }
    return { json, failed: Object.fromEntries(failed.map((row) => [row.name, row.error])) };
  };

  /** A moment later, because it would never answer this call. */
  const hangAgent = async (): Promise<void> => {
    await lab.ok('exec', fleet, '3', '--', '(sleep 1; kill -STOP $(pidof qemu-ga)) >/dev/null 2>&1 </dev/null &');
    await new Promise((resolve) => setTimeout(resolve, 1_500));
  };

  it('end, and fail only for those two', async () => {
    const file = join(lab.scratch, 'file');
    await writeFile(file, 'content');
    process.env.COWHERD_LIBVIRT_TIMEOUT = '10s';
    try {
      await hangAgent();
      await qemus.stop(name(2));

      // One after the other: calls to one agent are serialized.
      for (const words of [
        ['start', fleet, '--wait', 'agent', '--timeout', '15s'],
        ['exec', fleet, '--via', 'agent', '--', 'true'],
        ['cp', `${fleet}:/etc/hostname`, join(lab.scratch, 'from'), '--via', 'agent'],
        ['cp', file, `${fleet}:/root/to`, '--via', 'agent'],
        ['checkpoint', fleet, '--wait', 'agent', '--timeout', '15s'],
      ])
        expect(Object.keys((await tried(...words)).failed), words.join(' ')).toEqual([name(2), name(3)]);
      // ssh still reaches the third guest.
      for (const words of [
        ['cp', file, `${fleet}:/root/to`, '--timeout', '20s'],
        ['exec', fleet, '--timeout', '20s', '--', 'true'],
      ])
        expect(Object.keys((await tried(...words)).failed), words.join(' ')).toEqual([name(2)]);
      const looked = await Promise.all([tried('status', fleet), tried('inventory', fleet), tried('verify', fleet), tried('report', fleet)]);
      for (const { failed, json } of looked) expect([failed, json.findings ?? []]).toEqual([{}, []]);

      // The restored memory of the third guest includes the hanging agent.
      const warm = await tried('reset', fleet, '--warm');
      expect(Object.keys(warm.failed)).toEqual([name(2)]);
      expect((await tried('exec', fleet, '1,3', '--via', 'agent', '--', 'true')).failed).toEqual({});
    } finally {
      await qemus.goOn();
    }
    expect((await lab.ok('reset', fleet, '--warm')).counts.restored).toBe(3);
    expect((await lab.ok('exec', fleet, '--', 'true')).counts.ok).toBe(3);
    expect((await lab.ok('verify')).findings).toEqual([]);
    await hangAgent();
    const stopped = await tried('stop', fleet, '--force', '--timeout', '15s');
    expect([stopped.failed, stopped.json.counts.stopped]).toEqual([{}, 3]);
  });
});
