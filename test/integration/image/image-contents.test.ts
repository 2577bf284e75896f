import { truncate, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { beforeAll, describe, expect, it } from 'vitest';
import { inspectContents } from '../../../src/adapters/guest-files/contents.js';
import { fatImage } from '../../support/fat-image.js';
import { env, GuestDisks, MiB, mbr } from '../../support/guest-disks.js';

/** Finds out what is in images without booting them, with real file systems and partition tables. */
describe('the contents of an image', () => {
  const { fresh, format, patch, convert, tree, at } = GuestDisks.use();
  const osRelease = 'PRETTY_NAME="Test Linux 1"\nID=test\nVERSION_ID="1"\n';
  const os = { id: 'test', version: '1', name: 'Test Linux 1' };
  /** In an image with a readable root. */
  const nothing = { cloudInit: false, agent: false };

  const gptTypes = {
    esp: 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B',
    biosBoot: '21686148-6449-6E6F-744E-656564454649',
    linux: '0FC63DAF-8483-4772-8E79-3D69D8477DE4',
  };
  const code = Buffer.from('eb3c9090', 'hex');

  /** A disk with a GPT, and something at the start of each of its partitions. */
  const gpt = async (
    ...partitions: Array<{ type: keyof typeof gptTypes; bytes?: Buffer; tree?: string; attrs?: string }>
  ): Promise<string> => {
    const path = fresh('raw');
    await writeFile(path, '');
    await truncate(path, 64 * MiB);
    const lines = partitions.map(({ type, attrs }) => `size=16MiB,type=${gptTypes[type]}${attrs === undefined ? '' : `,attrs="${attrs}"`}`);
    await execa('sfdisk', ['-q', path], { env, input: ['label: gpt', ...lines].join('\n') });
    for (const [index, { bytes, tree: files }] of partitions.entries()) {
      const offset = (1 + index * 16) * MiB;
      if (bytes !== undefined) await patch(path, [offset, bytes]);
      if (files !== undefined) await format(files, { path, offset });
    }
    return path;
  };

  beforeAll(async () => {
    await tree('bare', { 'etc/hostname': 'x', 'usr/bin/true': '' });
    await tree('cloud', { 'etc/os-release': osRelease, 'usr/bin/cloud-init': '#!', 'usr/sbin/qemu-ga': 'ELF' });
  });

  it.each<[string, Record<string, string>, Record<string, string>, object]>([
    ['an os-release behind a relative link', { 'usr/lib/os-release': osRelease }, { 'etc/os-release': '../usr/lib/os-release' }, { os }],
    ['an os-release behind an absolute link', { 'usr/share/os': osRelease }, { 'etc/os-release': '/usr/share/os' }, { os }],
    ['an os-release in /usr only', { 'usr/lib/os-release': osRelease, 'etc/hostname': '' }, {}, { os }],
    ['an os-release behind a link in a ring', { 'usr/bin/true': '' }, { 'etc/os-release': 'os-release' }, {}],
    ['an os-release behind a link out of the disk', { 'usr/bin/true': '' }, { 'etc/os-release': '../../../etc/os-release' }, {}],
    ['an os-release that is a directory', { 'etc/os-release/x': '', 'usr/bin/true': '' }, {}, {}],
    ['cloud-init', { 'etc/cloud/cloud.cfg': '', 'usr/bin/cloud-init': '#!' }, {}, { cloudInit: true }],
    ['the module of cloud-init', { 'usr/lib/python3.11/site-packages/cloudinit/util.py': '', 'etc/x': '' }, {}, { cloudInit: true }],
    ['the module of cloud-init on Debian', { 'usr/lib/python3/dist-packages/cloudinit/util.py': '', 'etc/x': '' }, {}, { cloudInit: true }],
    ['what is left of cloud-init', { 'etc/cloud/cloud.cfg': '', 'usr/bin/true': '' }, {}, {}],
    ['cloud-init that is disabled', { 'etc/cloud/cloud-init.disabled': '', 'usr/bin/cloud-init': '#!' }, {}, {}],
    ['tiny-cloud', { 'etc/tiny-cloud.conf': '', 'usr/bin/true': '' }, {}, { cloudInit: true }],
    ['an agent in /usr/bin', { 'usr/bin/qemu-ga': '', 'etc/x': '' }, {}, { agent: true }],
    [
      'a merged /usr',
      { 'usr/bin/qemu-ga': '', 'usr/bin/cloud-init': '', 'etc/x': '' },
      { bin: 'usr/bin', sbin: 'usr/sbin', 'usr/sbin': 'bin' },
      { agent: true, cloudInit: true },
    ],
    ['a program that is a link', { 'opt/qemu-ga': '', 'etc/x': '' }, { 'usr/sbin/qemu-ga': '/opt/qemu-ga' }, { agent: true }],
    ['a program that is a broken link', { 'etc/x': '', 'usr/bin/true': '' }, { 'usr/sbin/qemu-ga': '/opt/qemu-ga' }, {}],
  ])('%s', async (name, files, links, found) => {
    await tree(name, files, links);
    expect(await inspectContents(await format(name), 'raw')).toEqual({ ...nothing, ...found });
  });

  it('are the same in each format and each layer', async () => {
    const raw = await format('cloud');
    const found = { os, cloudInit: true, agent: true };
    for (const options of [[], ['-c'], ['-o', 'extended_l2=on']])
      expect(await inspectContents(await convert(raw, ...options), 'qcow2')).toEqual(found);
    const top = fresh('qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', raw, top]);
    expect(await inspectContents(top, 'qcow2', { backing: [{ path: raw, format: 'raw' }] })).toEqual(found);
    expect(await inspectContents(top, 'qcow2')).toEqual({});
  });

  it('are found in a separate /usr, and unknown if it cannot be read', async () => {
    await tree('root-only', { 'etc/cloud/ds-identify.cfg': '' }, { 'etc/os-release': '../usr/lib/os-release' });
    await tree('usr-only', {
      ...{ 'bin/cloud-init': '', 'sbin/qemu-ga': '', 'lib/os-release': osRelease, 'share/doc/x': '' },
    });
    const root = { type: 'linux', tree: 'root-only' } as const;
    expect(await inspectContents(await gpt(root, { type: 'linux', tree: 'usr-only' }), 'raw')).toEqual({
      os,
      cloudInit: true,
      agent: true,
    });
    expect(await inspectContents(await gpt(root, { type: 'linux', tree: 'boot' }), 'raw')).toEqual({});
    await tree('root-with-config', { 'etc/cloud/cloud.cfg': '' });
    expect(await inspectContents(await gpt({ type: 'linux', tree: 'root-with-config' }), 'raw')).toEqual({ cloudInit: true });
  });

  it.each([12, 16, 32] as const)('a boot loader for UEFI on FAT%i', async (kind) => {
    const path = fresh('raw');
    await writeFile(path, '');
    await truncate(path, 64 * MiB);
    await patch(path, [446, mbr([0xef, MiB, 48 * MiB])], [MiB, fatImage({ kind })]);
    expect(await inspectContents(path, 'raw')).toEqual({ firmware: 'uefi' });
    await patch(path, [0, code]);
    expect(await inspectContents(path, 'raw')).toEqual({ firmware: 'both' });
    await patch(path, [MiB, fatImage({ kind, file: 'README  TXT' })]);
    expect(await inspectContents(path, 'raw')).toEqual({ firmware: 'bios' });
  });

  it('the firmware of a GPT', async () => {
    const esp = { type: 'esp', bytes: fatImage({ kind: 16, vendor: 'DEBIAN     ', file: 'SHIMX64 EFI' }) } as const;
    const firmware = async (path: string): Promise<string | undefined> => (await inspectContents(path, 'raw')).firmware;
    const onlyUefi = await gpt(esp, { type: 'linux', tree: 'bare' });
    expect(await inspectContents(onlyUefi, 'raw')).toEqual({ ...nothing, firmware: 'uefi' });
    // As Windows leaves it: this code finds no partition that it can boot.
    await patch(onlyUefi, [0, code]);
    expect(await firmware(onlyUefi)).toBe('uefi');
    const both = await gpt({ type: 'biosBoot' }, esp);
    expect(await firmware(both)).toBe('uefi');
    await patch(both, [0, code]);
    expect(await firmware(both)).toBe('both');
    const legacy = await gpt(esp, { type: 'linux', tree: 'bare', attrs: 'LegacyBIOSBootable' });
    await patch(legacy, [0, code]);
    expect(await firmware(legacy)).toBe('both');
    const bios = await gpt({ type: 'biosBoot' }, { type: 'linux', tree: 'bare' });
    await patch(bios, [0, code]);
    expect(await firmware(bios)).toBe('bios');
    // An ESP without a file system, or without files, boots nothing.
    expect(await firmware(await gpt({ type: 'esp' }, { type: 'linux', tree: 'bare' }))).toBeUndefined();
  });

  it('the firmware of an image whose root cannot be read', async () => {
    const xfs = Buffer.alloc(4096);
    xfs.write('XFSB', 'latin1');
    const path = await gpt({ type: 'esp', bytes: fatImage({ kind: 16 }) }, { type: 'linux', tree: 'boot' }, { type: 'linux', bytes: xfs });
    expect(await inspectContents(path, 'raw')).toEqual({ firmware: 'uefi' });
  });

  it('a disk of nothing, and a boot sector alone', async () => {
    const path = fresh('raw');
    await writeFile(path, Buffer.alloc(MiB));
    expect(await inspectContents(path, 'raw')).toEqual({});
    await patch(path, [0, code], [510, Buffer.from('55aa', 'hex')]);
    expect(await inspectContents(path, 'raw')).toEqual({ firmware: 'bios' });
    expect(await inspectContents(at('missing.raw'), 'raw')).toEqual({});
    expect(await inspectContents(at('boot'), 'raw')).toEqual({});
  });
});
