import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bin, guest, Lab } from '../../support/lab.js';

const fake = fileURLToPath(new URL('../../fakes/failing-disk.mjs', import.meta.url));

describe('a failing disk', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab.close());

  it('is named, the command of the hint shows the messages of the kernel, and nothing is lost', async () => {
    const fleet = lab.fleet('failing');
    await lab.ok('base', 'add', await lab.golden('golden.qcow2'));
    await lab.ok('spawn', fleet, '--base', 'golden', '--count', '2', ...guest, '--wait', 'console=^OK');
    const before = await lab.world(fleet);
    const large = await lab.golden('large.qcow2', { filledMiB: 1 });
    for (const words of [
      ['base', 'add', large],
      ['reset', fleet],
      ['spawn', fleet, '--count', '9', '--no-start'],
    ]) {
      const { exitCode, stdout } = await execa(process.execPath, ['--import', fake, bin, ...words, '--json'], {
        env: lab.env,
        reject: false,
      });
      expect(exitCode, stdout).toBe(8);
      const { message, hint } = JSON.parse(stdout).error;
      expect(message).toContain('EIO: i/o error');
      expect(hint).toBe('The disk is failing, or its file system is damaged: see "dmesg".');
    }
    expect((await execa('dmesg')).exitCode).toBe(0);
    expect(await lab.world(fleet)).toEqual(before);
    await lab.ok('base', 'add', large);
    expect((await lab.ok('reset', fleet)).counts).toMatchObject({ reset: 2, failed: 0 });
  });
});
