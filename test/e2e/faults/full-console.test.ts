import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { guest, Lab } from '../../support/lab.js';

describe('with no space for console logs', () => {
  const lab = Lab.use();

  it('every command works, and a wait for a console line times out', async () => {
    const fleet = lab.fleet('full');
    const golden = await lab.golden('golden.qcow2', { ending: 'power-button' });
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, '--virt-type', 'qemu', '--no-start');
    const logs = lab.path('fleets', fleet, 'logs');
    await mkdir(logs, { recursive: true });
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=16k,mode=755', 'cwt-small', logs]);
    try {
      await execa('dd', ['if=/dev/zero', `of=${join(logs, 'ballast')}`, 'bs=4k'], { reject: false });
      expect((await lab.ok('start', fleet)).counts.started).toBe(2);
      const waited = (await lab.answer('start', fleet, '--wait', 'console=^OK', '--timeout', '2s')).json;
      expect(waited.members.map((row: any) => [row.outcome, row.stuckAt])).toEqual([
        ['failed', 'console'],
        ['failed', 'console'],
      ]);
      expect(waited.members[0].error.hint).toContain('--timeout');
      for (const words of [
        ['checkpoint'],
        ['reset', '--warm'],
        ['status'],
        ['report'],
        ['spawn'],
        ['stop'],
        ['start'],
        ['reset'],
        ['verify'],
      ]) {
        const [verb = '', ...flags] = words;
        const { exitCode, json } = await lab.answer(verb, fleet, ...flags);
        expect(exitCode, JSON.stringify(json)).toBe(0);
      }
      expect((await lab.ok('status', fleet)).counts.running).toBe(2);
    } finally {
      await execa('umount', ['--lazy', logs], { reject: false });
    }
    expect((await lab.ok('reset', fleet, '--wait', 'console=^OK')).counts.failed).toBe(0);
    await lab.ok('teardown', fleet, '--yes');
  });
});
