import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { domains, guest, Lab } from '../../support/lab.js';

describe('the memory of a fleet', () => {
  let golden: string;
  const lab = Lab.use(async () => {
    golden = await lab.golden('golden.qcow2', { ending: 'power-button' });
  });

  const spawned = (name: string, count: number, ...more: string[]) => lab.spawned(name, golden, count, ...more);

  it('refuses to use more memory than available, unless forced', async () => {
    const fleet = lab.fleet('ram');
    const { exitCode, json } = await lab.answer('spawn', fleet, '--base', golden, '--count', '500', '--memory', '1PiB');
    expect([exitCode, json.error.code]).toEqual([2, 'BAD_USAGE']);
    const tooMuch = await lab.answer('spawn', fleet, '--base', golden, '--count', '50', '--memory', '64GiB', '--network', 'none');
    expect(tooMuch).toMatchObject({
      exitCode: 3,
      json: { error: { code: 'PREFLIGHT_FAILED', message: expect.stringContaining('nothing was changed') } },
    });
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
    const offline = await lab.answer(
      'spawn',
      fleet,
      '--base',
      golden,
      '--count',
      '1',
      ...guest.slice(0, 2),
      '--network',
      'network=nonesuch',
    );
    expect(offline.json.error.message).toContain('nonesuch not found');
  });

  it('status --memory shows the memory use of each QEMU, and status without it does not read it', async () => {
    const fleet = await spawned('taken', 3, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '3', '--timeout', '30s');
    expect(JSON.stringify(await lab.ok('status', fleet))).not.toContain('"memory"');
    const { memory, members } = await lab.ok('status', fleet, '--memory');
    expect(members[2]).toMatchObject({ state: 'shutOff', memory: null });
    expect(memory).toMatchObject({ on: 2, read: 2, guestBytes: 2 * 16 * 1024 ** 2, notes: [] });
    for (const key of ['residentBytes', 'proportionalBytes', 'swapBytes', 'mergedBytes'])
      expect([key, memory[key]]).toEqual([key, members[0].memory[key] + members[1].memory[key]]);
    // Compared with libvirt's pid.
    for (const member of members.slice(0, 2)) {
      const pid = (await readFile(`/run/libvirt/qemu/${member.name}.pid`, 'utf8')).trim();
      const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
      const now = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(rollup)?.[1]) * 1024;
      expect(Math.abs(Math.log2(member.memory.residentBytes / now('Rss')))).toBeLessThan(0.3);
      // Other processes share a varying part of QEMU's pages.
      expect(member.memory.proportionalBytes / now('Pss')).toBeGreaterThan(0.5);
      expect(member.memory.proportionalBytes).toBeLessThan(member.memory.residentBytes);
    }
    const { stdout } = await lab.cowherd('status', fleet, '--memory');
    expect(stdout).toMatch(/RESIDENT +PROPORTIONAL/);
    expect(stdout).toMatch(/-003 +off .* - +- +shut down/);
    expect(stdout).toMatch(/memory: 2 guests with 32 MiB assigned; [\d.]+ MiB proportional, [\d.]+ MiB resident/);
    await lab.ok('stop', fleet, '--force');
    expect((await lab.cowherd('status', fleet, '--memory')).stdout).toContain('memory: no running members');
    await lab.ok('teardown', fleet, '--yes');
  });
});
