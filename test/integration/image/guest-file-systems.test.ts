import { open, readFile, stat, truncate } from 'node:fs/promises';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { openDisk } from '../../../src/adapters/guest-files/disk.js';
import { openExt4 } from '../../../src/adapters/guest-files/ext4.js';
import { inspectGuestFiles } from '../../../src/adapters/guest-files/inspect.js';
import { ReadBudget } from '../../../src/adapters/guest-files/read-budget.js';
import { cleanFacts, env, GuestDisks, KiB, MiB, machineId, used } from '../../support/guest-disks.js';
import { inLong } from '../../support/long.js';

/** Inspects images without booting them, with real file systems. */
describe('guest files of every file system', () => {
  const { at, fresh, format, convert, inspected, tree, complaint } = GuestDisks.use();

  const kinds: Record<string, { type?: string; options?: string[]; size?: number }> = {
    ext2: { type: 'ext2' },
    ext3: { type: 'ext3', options: ['-b', '4096'] },
    'ext4 without 64-bit': { options: ['-O', '^64bit,^metadata_csum,extents'] },
    'ext4 with 64-bit': { options: ['-O', '64bit,extents,flex_bg,metadata_csum'] },
    'with blocks of 1 KiB': { options: ['-b', '1024', '-O', 'extents'] },
    'with small inodes': { options: ['-I', '128', '-O', 'extents'] },
  };

  it.each(Object.keys(kinds))('%s', async (kind) => {
    expect(await inspected(await format('used', kinds[kind]))).toEqual(used);
    expect(await inspected(await format('clean', kinds[kind]))).toEqual(cleanFacts);
  });

  it.each([
    '64bit,^meta_bg,^resize_inode',
    '^64bit,meta_bg,^resize_inode,^sparse_super',
    ...inLong(['^64bit,^meta_bg,^resize_inode', '64bit,meta_bg,^resize_inode']),
  ])('many groups (%s)', async (features) => {
    const names = Array.from({ length: 900 }, (_, n) => `etc/${n}`);
    await tree('spread', Object.fromEntries(names.map((name) => [name, name])));
    // 16 inodes in each group of 256 KiB.
    const path = await format('spread', {
      size: 64 * MiB,
      options: ['-b', '1024', '-g', '256', '-N', '4096', '-O', `extents,${features}`],
    });
    const disk = await openDisk(path, 'raw', new ReadBudget({ bytes: 1024 * MiB, milliseconds: 30_000 }));
    const root = await openExt4(disk, { offset: 0, length: disk.virtualBytes });
    for (const name of names) expect(String(await root?.readFile(`/${name}`, 100))).toBe(name);
    await disk.close();
  });

  it.each(['ext2', 'ext4'])('large directories and scattered files (%s)', async (type) => {
    const many = Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`etc/a-name-of-some-length-${n}`, '']));
    await tree(`many-${type}`, { ...many, 'etc/ssh/ssh_host_rsa_key': '', 'etc/machine-id': `${machineId}\n` });
    // Every other block is a hole, so that each block is a separate extent.
    const handle = await open(at(`many-${type}`, 'scattered'), 'w');
    const blocks = type === 'ext2' ? 260 : 2000;
    for (let block = 0; block < blocks; block += 2) await handle.write(Buffer.alloc(KiB, `block ${block};`), 0, KiB, block * KiB);
    await handle.close();
    const features = type === 'ext2' ? 'dir_index' : 'dir_index,extents';
    const path = await format(`many-${type}`, { type, options: ['-b', '1024', '-N', '8000', '-O', features] });
    // Creates the hashed index; exit code 1 means that it changed something.
    expect((await execa('e2fsck', ['-fyD', path], { env, reject: false })).exitCode).toBeLessThan(2);
    const { stdout } = await execa('debugfs', ['-R', 'htree_dump /etc', path], { env });
    expect(stdout).toContain('Number of entries');

    const disk = await openDisk(path, 'raw');
    const root = await openExt4(disk, { offset: 0, length: disk.virtualBytes });
    expect((await root?.listDirectory('/etc', 5000))?.sort()).toEqual(
      [...Object.keys(many).map((name) => name.slice(4)), 'machine-id', 'ssh'].sort(),
    );
    expect(await root?.listDirectory('/etc', 7)).toHaveLength(7);
    const content = await readFile(at(`many-${type}`, 'scattered'));
    expect((await root?.readFile('/scattered', 8 * MiB))?.equals(content)).toBe(true);
    expect(await root?.readFile('/scattered', 10)).toEqual(content.subarray(0, 10));
    await disk.close();
    expect(await inspected(path)).toEqual({ machineId, sshHostKeys: ['ssh_host_rsa_key'], cloudInitInstance: undefined });
  });

  it('follows links inside the guest, up to a limit', async () => {
    const far = `instances/${'x'.repeat(70)}`;
    await tree(
      'linked',
      { 'etc/keep': '', 'var/lib/dbus/machine-id': `${machineId}\n`, 'usr/ssh/ssh_host_rsa_key': '' },
      {
        'etc/machine-id': '/var/lib/dbus/machine-id',
        'etc/ssh': '../../../usr/./ssh',
        'var/lib/cloud/instance': `/var/lib/cloud/${far}`,
        loop: 'loop',
        dangling: '/nowhere/at/all',
        // A file of the host.
        outside: at('used/etc/machine-id'),
      },
    );
    const path = await format('linked', { options: ['-O', 'extents'] });
    expect(await inspected(path)).toEqual({ machineId, sshHostKeys: ['ssh_host_rsa_key'], cloudInitInstance: 'x'.repeat(70) });
    const disk = await openDisk(path, 'raw');
    const root = await openExt4(disk, { offset: 0, length: disk.virtualBytes });
    for (const name of ['/loop', '/dangling', '/outside', '/etc/keep/below', '/etc', '/missing'])
      expect(await root?.readFile(name, 10), name).toBeUndefined();
    expect(await root?.readLink('/dangling')).toBe('/nowhere/at/all');
    expect(await root?.readLink('/etc')).toBeUndefined();
    expect(await root?.listDirectory('/etc/keep', 10)).toBeUndefined();
    await disk.close();
  });

  it('leaves no terminal control in its result', async () => {
    await tree('rude', {
      'etc/machine-id': `\x1b[2Jowned\x07${'x'.repeat(5000)}`,
      'etc/ssh/ssh_host_\x1b[2J_key': '',
      'etc/ssh/ssh_host_rsa_key': '',
    });
    const facts = await inspected(await format('rude'));
    expect(facts?.machineId).toMatch(/^\?\[2Jowned\?x{200,}$/);
    expect(facts?.machineId?.length).toBeLessThan(300);
    expect(facts?.sshHostKeys).toEqual(['ssh_host_rsa_key']);
  });

  describe('that cannot be read', () => {
    it('are reported', async () => {
      const raw = await format('used');
      const whole = await convert(raw);
      const chained = fresh('qcow2');
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', whole, chained]);
      const refused = (path: string) => openDisk(path, 'qcow2').then((disk) => disk.close().then(() => 'opened'), String);
      expect(await refused(whole)).toBe('opened');
      expect(await refused(chained)).toMatch(/UnreadableDisk: .*backing file/);
      expect(await refused(await convert(raw, '-o', 'compression_type=zstd'))).toMatch(/UnreadableDisk: .*zstd/);
      expect(await refused(await convert(raw, '-o', 'extended_l2=on'))).toBe('opened');
      expect(await refused(raw)).toMatch(/UnreadableDisk: .*not a qcow2/);
      await execa('mkfifo', [at('pipe')]);
      expect(await refused(at('pipe'))).toMatch(/UnreadableDisk: .*not a file/);
      for (const path of [chained, at('pipe'), at('missing.qcow2'), at()]) expect(await inspected(path, 'qcow2')).toBeUndefined();
    });

    it('give no result rather than a partial one', async () => {
      expect(await inspected(await format('boot'))).toBeUndefined();
      const inline = await format('used', { options: ['-O', 'inline_data,extents', '-I', '256'] });
      expect(await inspected(inline)).toBeUndefined();
      expect(await complaint(inline)).toMatch(/inside its inode/);
      expect(await complaint(await format('used'), 64 * KiB)).toMatch(/out of its partition/);
      const image = await convert(await format('used'));
      await truncate(image, (await stat(image)).size / 2);
      expect(await inspected(image)).toBeUndefined();
      expect(await inspectGuestFiles(await format('used'), 'raw', { bytes: 20_000 })).toBeUndefined();
      expect(await inspectGuestFiles(await format('used'), 'raw', { milliseconds: 0 })).toBeUndefined();
    });
  });
});
