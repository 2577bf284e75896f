import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CowherdError } from '../../../src/core/errors.js';
import { domainFixtures, forThisHost } from '../../fixtures/domains.js';
import { renderAsMember } from '../../fixtures/members.js';
import { Lab, uri, virsh } from '../../support/lab.js';

/** Undefined for domains that cannot become a fleet. */
function asMember(xml: string, fleet: string): ReturnType<typeof renderAsMember> | undefined {
  try {
    return renderAsMember('source', xml, fleet);
  } catch (error) {
    if (error instanceof CowherdError && error.code === 'NOT_SUPPORTED') return undefined;
    throw error;
  }
}

/** A fleet from a foreign domain. */
describe('spawn --from-domain', () => {
  let lab: Lab;
  let source: string;
  let images: string;
  beforeAll(async () => {
    lab = await Lab.open();
    // With a suffix, so that the lab recognizes it.
    source = `${lab.fleet('source')}-vm`;
    // In a directory that QEMU's user can reach.
    images = lab.path('source');
    await mkdir(images, { recursive: true });
    const golden = await lab.golden('golden.qcow2');
    await execa('cp', [golden, join(images, 'root.qcow2')]);
    await execa('qemu-img', ['create', '-q', '-f', 'raw', join(images, 'data.raw'), '8M']);
    await execa('qemu-io', ['-f', 'raw', '-c', 'write -P 66 1M 1M', join(images, 'data.raw')]);
    // As created by users.
    await execa('virt-install', [
      ...['--connect', uri, '--name', source, '--memory', '16', '--vcpus', '1', '--virt-type', 'qemu', '--import', '--noreboot'],
      ...['--disk', `path=${join(images, 'root.qcow2')},format=qcow2`, '--disk', `path=${join(images, 'data.raw')},format=raw,bus=scsi`],
      ...['--network', 'user', '--network', 'user', '--graphics', 'vnc', '--osinfo', 'generic', '--noautoconsole'],
    ]);
  });
  afterAll(() => lab.close());

  const digests = async (): Promise<string[]> =>
    Promise.all(
      ['root.qcow2', 'data.raw'].map(async (name) =>
        createHash('sha256')
          .update(await readFile(join(images, name)))
          .digest('hex'),
      ),
    );

  it('creates five members from a domain of virt-install, each with its own disks, name and addresses', async () => {
    const fleet = lab.fleet('five');
    const [before, xml] = [await digests(), await virsh('dumpxml', '--inactive', source)];
    const outcome = await lab.ok('spawn', fleet, '--from-domain', source, '--count', '5', '--wait', 'console=^OK');
    expect(outcome.counts).toMatchObject({ created: 5, started: 5, failed: 0 });
    const documents = await Promise.all([1, 2, 3, 4, 5].map((index) => virsh('dumpxml', '--inactive', `${fleet}-00${index}`)));
    const macs = documents.flatMap((document) => [...document.matchAll(/<mac address='([^']+)'/g)].map((match) => match[1]));
    expect(new Set(macs).size).toBe(10);
    // Everything else is as in the domain: the video card, the controllers, the second interface.
    for (const part of ["<model type='vga'", "<graphics type='vnc'", "<controller type='scsi'", "bus='ide'"]) {
      expect(xml.includes(part)).toBe(documents[0]?.includes(part));
    }
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    for (const index of [1, 5]) {
      const member = `${fleet}-00${index}`;
      expect((await lab.marker(fleet, member))?.boots).toBe(1);
      // The content of the second disk is there, on an overlay.
      const second = lab.overlay(fleet, `${member}.sda`);
      const { stdout } = await execa('qemu-io', ['-f', 'qcow2', '-c', 'read -P 66 1M 1M', second]);
      expect(stdout).not.toContain('verification failed');
    }
    // The domain is unchanged.
    expect(await digests()).toEqual(before);
    expect(await virsh('dumpxml', '--inactive', source)).toBe(xml);

    // A second spawn has nothing to do. Growing the fleet does not need the domain.
    expect((await lab.ok('spawn', fleet, '--from-domain', source, '--count', '5', '--no-start')).counts.unchanged).toBe(5);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 1M', lab.overlay(fleet, `${fleet}-002.sda`)]);
    expect((await lab.ok('reset', fleet, '--start', 'none')).counts.reset).toBe(5);
    const { stdout } = await execa('qemu-io', ['-f', 'qcow2', '-c', 'read -P 66 1M 1M', lab.overlay(fleet, `${fleet}-002.sda`)]);
    expect(stdout).not.toContain('verification failed');
    expect((await lab.ok('spawn', fleet, '--count', '6', '--memory', '24')).counts).toMatchObject({ created: 1, redefined: 5 });
    const report = await lab.ok('report', fleet);
    expect(report.members).toBe(6);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('creates domains that libvirt accepts from the XML of other tools', async () => {
    const fleet = lab.fleet('real');
    let made = 0;
    for (const { name, xml } of domainFixtures) {
      const member = asMember(forThisHost(xml, `cwt-${name}`), fleet);
      if (member === undefined) continue;
      made++;
      const path = join(lab.scratch, 'member.xml');
      await writeFile(path, member.rendered);
      await virsh('define', path);
      expect(await virsh('dumpxml', '--inactive', member.name)).toContain("<source file='/store/bases/golden.qcow2'");
      await virsh('undefine', member.name, '--nvram');
    }
    expect(made).toBe(15);
  });

  it('preserves braces, and refuses devices that cannot be shared', async () => {
    const fleet = lab.fleet('odd');
    const xml = await virsh('dumpxml', '--inactive', source);
    const path = join(lab.scratch, 'odd.xml');
    const redefine = async (changed: string): Promise<void> => {
      await writeFile(path, changed);
      await virsh('define', path);
    };
    const refusal = async (exitCode: number, ...args: string[]): Promise<string> => {
      const answer = await lab.answer('spawn', fleet, '--from-domain', source, '--count', '1', ...args);
      expect(answer.exitCode).toBe(exitCode);
      return [answer.json.error.message, answer.json.error.hint, ...(answer.json.error.details ?? [])].join('\n');
    };
    try {
      await redefine(xml.replace('<memory', '<title>a {{name}} \\{{{b}}} &amp; c</title>\n  <memory'));
      await lab.ok('spawn', fleet, '--from-domain', source, '--count', '1', '--no-start');
      expect(await virsh('dumpxml', `${fleet}-001`)).toContain('<title>a {{name}} \\{{{b}}} &amp; c</title>');
      await lab.ok('teardown', fleet, '--yes');
      await redefine(xml.replace("autoport='yes'", "autoport='yes' passwd='secret'"));
      await lab.ok('spawn', fleet, '--from-domain', source, '--count', '1', '--no-start');
      expect(await virsh('dumpxml', '--security-info', `${fleet}-001`)).toContain("passwd='secret'");
      await lab.ok('teardown', fleet, '--yes');

      const usb = "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product id='0xbeef'/></source></hostdev>";
      await redefine(
        xml.replace('</devices>', `${usb}<filesystem type='mount'><source dir='/tmp'/><target dir='t'/></filesystem></devices>`),
      );
      expect(await refusal(2)).toContain('a device of the host');
      await redefine(xml.replace(/<driver name='qemu' type='raw'\/>/, "<driver name='qemu' type='raw'/><shareable/>"));
      expect(await refusal(2)).toContain('sda is shared');
    } finally {
      await redefine(xml);
    }
    expect(await refusal(2, '--network', 'none')).toContain('--network cannot be used with --from-domain');
    await virsh('start', source);
    expect(await refusal(3)).toContain(`virsh shutdown ${source}`);
    await virsh('destroy', source);
    expect((await lab.answer('spawn', fleet, '--from-domain', 'cwt-none', '--count', '1')).exitCode).toBe(5);
  });
});
