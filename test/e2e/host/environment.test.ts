import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab } from '../../support/lab.js';

/** What a person has in the environment for other reasons changes nothing. */
describe('the environment', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
  });
  afterAll(() => lab.close());

  it('that has tools tell of themselves, or names a directory that is gone, is kept from the tools', async () => {
    const fleet = lab.fleet('env');
    const told = { VIRSH_DEBUG: '0', LIBVIRT_DEBUG: '1', LIBVIRT_LOG_OUTPUTS: '1:stderr', G_MESSAGES_DEBUG: 'all', POSIXLY_CORRECT: '1' };
    const env = { ...lab.env, ...told, TMPDIR: '/nonexistent' };
    for (const args of [
      ['spawn', fleet, '--base', golden, '--count', '1', ...guest],
      ['status', fleet],
      ['reset', fleet],
      ['verify'],
      ['teardown', fleet, '--yes'],
    ]) {
      const { exitCode, all } = await execa(process.execPath, [lab.bin, ...args], { env, reject: false, all: true });
      expect([exitCode, all], args.join(' ')).toEqual([0, expect.not.stringMatching(/^\s+at /m)]);
    }
  });
});
