import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
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

  it('without a home directory, a shell and a passwd entry, as in a container, is enough to start', async () => {
    const store = join(lab.scratch, 'nameless');
    await mkdir(store);
    const asNobody = ['--reuid', '54321', '--regid', '54321', '--clear-groups', 'env', '-i', process.execPath, lab.bin];
    const { exitCode, all } = await execa('setpriv', [...asNobody, 'list', '--store', store], { reject: false, all: true });
    expect([exitCode, all]).toEqual([0, expect.stringMatching(/^No fleets in /)]);
    const help = await execa('setpriv', [...asNobody, '--help'], { reject: false, all: true });
    expect([help.exitCode, help.all]).toEqual([0, expect.stringContaining('COMMANDS')]);
  });
});
