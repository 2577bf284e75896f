import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab } from '../../support/lab.js';

/** Unrelated environment variables have no effect. */
describe('the environment', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
  });
  afterAll(() => lab.close());

  it('with debug settings or a missing directory is not passed on to tools', async () => {
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
