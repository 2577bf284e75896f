import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generalizeDisk } from '../../../src/adapters/image/virt-sysprep.js';

/** A fake in its place: the real tool boots a VM, for minutes without KVM. */
describe('virt-sysprep', () => {
  let dir: string;
  const path = process.env.PATH;
  const install = async (script: string): Promise<void> => {
    await writeFile(join(dir, 'virt-sysprep'), `#!/bin/sh\n${script}\n`);
    await chmod(join(dir, 'virt-sysprep'), 0o755);
    process.env.PATH = `${dir}${delimiter}${path}`;
  };
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cwt-sysprep-'));
  });
  afterEach(async () => {
    process.env.PATH = path;
    await rm(dir, { recursive: true, force: true });
  });

  it('gets the format of the disk, and only operations that write nothing new into it', async () => {
    await install(`printf '%s\\n' "$LIBGUESTFS_BACKEND" "$@" >'${dir}/said'`);
    expect(await generalizeDisk('/a b.qcow2', { inherit: [] })).toBe(true);
    expect((await readFile(join(dir, 'said'), 'utf8')).trimEnd().split('\n')).toEqual([
      ...['direct', '--quiet', '--no-network', '--format', 'qcow2', '--add', '/a b.qcow2', '--operations'],
      'machine-id,ssh-hostkeys,dhcp-client-state,logfiles,tmp-files,bash-history,net-hwaddr',
    ]);
  });

  it('may be missing', async () => {
    process.env.PATH = dir;
    expect(await generalizeDisk('/disk.qcow2', { inherit: [] })).toBe(false);
  });

  it('fails with its message', async () => {
    await install('echo "virt-sysprep: error: no operating systems were found in the guest image" >&2; exit 1');
    await expect(generalizeDisk('/disk.qcow2', { inherit: [] })).rejects.toMatchObject({
      code: 'TOOL_FAILED',
      message: expect.stringContaining('no operating systems were found'),
    });
  });
});
