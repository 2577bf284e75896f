import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { HungQemus } from '../support/hung.js';
import { Lab, until, virsh } from '../support/lab.js';

const fsck = '/usr/sbin/e2fsck';
const rounds = Math.max(2, Math.round(20 * Number(process.env.COWHERD_SOAK ?? 1)));

/** Restores the same checkpoint many times. */
describe('warm resets', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab.close());

  it(`restore the same disk ${rounds} times, with a clean file system, in the same QEMU and without more space`, async () => {
    const fleet = lab.fleet('rounds');
    const members = [`${fleet}-001`, `${fleet}-002`];
    await lab.ok(
      'spawn',
      fleet,
      '--base',
      inject('tinyImage'),
      '--memory',
      '128MiB',
      '--seed',
      'nocloud',
      '--count',
      '2',
      '--wait',
      'agent',
    );
    const said = async (command: string): Promise<string[]> =>
      (await lab.ok('exec', fleet, '--', command)).members.map((row: { stdout: string }) => row.stdout.trim());
    await said('dd if=/dev/urandom of=/root/before bs=64k count=32 2>/dev/null; sync');
    const before = await said('sha256sum < /root/before');
    await lab.ok('checkpoint', fleet, '--wait', 'agent');
    const pids = async () =>
      Promise.all(members.map((name) => execa('cat', [`/run/libvirt/qemu/${name}.pid`]).then(({ stdout }) => stdout)));
    const processes = await pids();
    const sizes: number[] = [];
    for (let round = 1; round <= rounds; round++) {
      await said('echo > /root/before; mkdir /root/after; dd if=/dev/urandom of=/root/after/much bs=1M count=6 2>/dev/null; sync');
      const { counts } = await lab.ok('reset', fleet, '--warm');
      expect([round, counts.restored]).toEqual([round, 2]);
      expect(await said('sha256sum < /root/before; ls /root')).toEqual(before.map((sum) => `${sum}\nbefore`));
      for (const name of members) await assertFileSystem(name);
      sizes.push((await stat(lab.overlay(fleet, members[0] ?? ''))).blocks * 512);
    }
    expect(await pids()).toEqual(processes);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(16 * 2 ** 20);
    await lab.ok('teardown', fleet, '--yes', '--with-base');

    /** Checks a copy of the guest's disk: after replaying the journal, nothing needs repair. */
    async function assertFileSystem(name: string): Promise<void> {
      const raw = join(lab.scratch, `${name}.raw`);
      const root = join(lab.scratch, `${name}.ext4`);
      await virsh('suspend', name);
      await execa('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'raw', lab.overlay(fleet, name), raw]);
      await virsh('resume', name);
      // The second entry of the partition table.
      const handle = await open(raw, 'r');
      const { buffer } = await handle.read(Buffer.alloc(16), 0, 16, 0x1be + 16);
      await handle.close();
      const [start, size] = [buffer.readUInt32LE(8), buffer.readUInt32LE(12)];
      await execa('dd', [`if=${raw}`, `of=${root}`, 'bs=512', `skip=${start}`, `count=${size}`, 'status=none']);
      await execa(fsck, ['-E', 'journal_only', '-y', root], { reject: false });
      const { exitCode, all } = await execa(fsck, ['-f', '-n', root], { reject: false, all: true });
      expect([exitCode, exitCode === 0 ? '' : all]).toEqual([0, '']);
      for (const path of [raw, root]) await rm(path);
    }
  });

  it('that are killed at any moment leave only detectable leftovers, and an unchanged guest', async () => {
    const fleet = lab.fleet('stopped');
    const name = `${fleet}-001`;
    const qemus = new HungQemus(lab);
    const linux = [
      '--base',
      inject('tinyImage'),
      '--memory',
      '128MiB',
      '--seed',
      'nocloud',
      '--count',
      '1',
      '--virt-type',
      'qemu',
      '--wait',
      'agent',
    ];
    await lab.ok('spawn', fleet, ...linux);
    const answers = async (): Promise<string> => (await lab.ok('exec', fleet, '--', 'cat /root/kept')).members[0].stdout.trim();
    await lab.ok('exec', fleet, '--', 'echo kept > /root/kept; sync');
    process.env.COWHERD_LIBVIRT_TIMEOUT = '3s';
    try {
      for (let round = 0; round < rounds; round++) {
        const run = lab.begin('checkpoint', fleet, '--json');
        await new Promise((resolve) => setTimeout(resolve, 400 + Math.random() * 1_600));
        try {
          await qemus.stop(name);
          expect([0, 4, 8]).toContain((await run).exitCode);
        } finally {
          await qemus.goOn();
        }
        await until(
          'QEMU to be done',
          async () => !/running|pending/.test(await virsh('qemu-monitor-command', name, '{"execute":"query-jobs"}')),
        );
        const { findings } = (await lab.answer('verify', fleet)).json;
        expect(findings.filter((one: any) => one.kind !== 'leftover')).toEqual([]);
        expect((await lab.ok('verify', fleet, '--fix')).fixed).toBe(findings.length);
        expect([await answers(), (await lab.ok('verify', fleet)).findings]).toEqual(['kept', []]);
      }
      expect((await lab.ok('checkpoint', fleet)).counts.checkpointed).toBe(1);
      expect((await lab.ok('reset', fleet, '--warm')).counts.restored).toBe(1);
    } finally {
      delete process.env.COWHERD_LIBVIRT_TIMEOUT;
      await qemus.goOn();
    }
    expect(await answers()).toBe('kept');
    await lab.ok('teardown', fleet, '--yes');
  });
});
