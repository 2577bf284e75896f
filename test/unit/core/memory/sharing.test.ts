import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { templateFromDomain } from '../../../../src/core/domain/template-from-domain.js';
import { cloneDemand } from '../../../../src/core/memory/demand.js';
import { isSharedBackend, opensReadOnly, sharingObstacle, withSharedMemory } from '../../../../src/core/memory/sharing.js';

const fixture = (name: string) => readFile(new URL(`../../../fixtures/${name}`, import.meta.url), 'utf8');
const domain = await fixture('releases/debian-12/domain-bios.xml');
const virtInstall = await fixture('domains/virt-install-bios.xml');
const changed = (from: string | RegExp, to: string): string => {
  const xml = domain.replace(from, to);
  if (xml === domain) throw new Error(`nothing matches ${from}`);
  return xml;
};
const old = 'QEMU 7.2.22';
const recent = 'QEMU 10.0.2';

describe('the memory of a domain', () => {
  it('can be shared if it is ordinary', () => {
    expect(sharingObstacle(domain, old)).toBeUndefined();
    expect(sharingObstacle(changed('<memory ', '<memoryBacking><nosharepages/></memoryBacking><memory '), old)).toBeUndefined();
  });

  it.each([
    [/huge|ordinary.*<hugepages>/, '<memory ', '<memoryBacking><hugepages/></memoryBacking><memory '],
    [/<source>/, '<memory ', '<memoryBacking><source type="memfd"/><access mode="shared"/></memoryBacking><memory '],
    [/NUMA/, '<devices>', '<cpu><numa><cell id="0"/></numa></cpu><devices>'],
    [/NUMA/, '<devices>', '<numatune><memory mode="strict"/></numatune><devices>'],
    [/slots/, '<memory ', '<maxMemory slots="4">1</maxMemory><memory '],
    [/memory devices/, '<devices>', '<devices><memory model="virtio-mem"/>'],
    [/virtiofs/, '<devices>', '<devices><filesystem><driver type="virtiofs"/></filesystem>'],
    [/vhost-user/, '<devices>', '<devices><interface type="vhostuser"/>'],
    [/host device/, '<devices>', '<devices><hostdev/>'],
    [/architecture is aarch64/, "arch='x86_64'", "arch='aarch64'"],
    [/QEMU arguments/, '</domain>', '<qemu:commandline><qemu:arg value="-mem-path"/></qemu:commandline></domain>'],
  ])('cannot be shared: %s', (reason, from, to) => {
    // A domain has only one <cpu>, and the first one counts.
    const xml = to.includes('<cpu>') ? domain.replace(/<cpu[\s\S]*?<\/cpu>/, '').replace(from, to) : changed(from, to);
    expect(sharingObstacle(xml, recent)).toMatch(reason);
  });

  it('is shared with a balloon only if QEMU opens the file read-only, and the balloon is empty', () => {
    expect(sharingObstacle(virtInstall, old)).toMatch(/memory balloon, and with QEMU 7\.2\.22 \(before 8\.2\)/);
    expect(sharingObstacle(virtInstall, recent)).toBeUndefined();
    expect(sharingObstacle(changed(/<memballoon[^>]*>/, ''), old)).toMatch(/balloon/);
    expect(sharingObstacle(virtInstall.replace('<memballoon', '<memballoon freePageReporting="on"'), recent)).toMatch(/reports free pages/);
    expect(sharingObstacle(virtInstall.replace(/<currentMemory[^<]*</, '<currentMemory unit="KiB">1<'), recent)).toMatch(/inflated/);
  });

  it('is opened read-only by QEMU 8.2 and later', () => {
    const versions = ['QEMU 7.2.22', 'QEMU 8.1.9', 'QEMU 8.2.0', 'QEMU 9.0.1', 'QEMU 10.0.2', 'unknown'];
    expect(versions.map(opensReadOnly)).toEqual([false, false, true, true, true, false]);
  });
});

describe('the XML of a clone', () => {
  const image = { path: '/store/a,b & c/1.ram', bytes: 4096, isReadOnly: true };

  it('maps the RAM image, whatever its path', () => {
    const xml = withSharedMemory(domain, image);
    expect(xml).toContain('xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"');
    const [, object = ''] = /<qemu:arg value="(memory-backend[^"]*)"/.exec(xml) ?? [];
    expect(object).toBe('memory-backend-file,id=cw.ram,mem-path=/store/a,,b &#38; c/1.ram,share=off,size=4096,readonly=on,rom=off');
    expect(isSharedBackend(object)).toBe(true);
    expect(withSharedMemory(domain, { ...image, isReadOnly: false })).not.toContain('readonly=on');
  });

  it('keeps own arguments, and loses only the added ones in a template', () => {
    const own = domain.replace('</domain>', '<qemu:commandline><qemu:arg value="-name"/><qemu:arg value="x"/></qemu:commandline></domain>');
    for (const [source, kept] of [
      [domain, 0],
      [own, 2],
    ] as const) {
      const cloned = withSharedMemory(source, image);
      expect(cloned.match(/:arg /g)).toHaveLength(kept + 4);
      const { template } = templateFromDomain('lab', cloned);
      expect(template.match(/:arg /g) ?? []).toHaveLength(kept);
      expect(template).not.toContain('cw.ram');
      // Again, as for a clone of a clone.
      expect(sharingObstacle(cloned, old)).toBeUndefined();
    }
  });
});

describe('the memory that clones need', () => {
  const MiB = 2 ** 20;

  it('is assumed for the first ones, and measured for others', () => {
    expect(cloneDemand(10, 1024 * MiB, 700 * MiB, [])).toEqual({
      count: 10,
      eachBytes: 256 * MiB,
      onceBytes: 700 * MiB,
      isMeasured: false,
    });
    expect(cloneDemand(10, 16 * MiB, 5 * MiB, []).eachBytes).toBe(16 * MiB);
    expect(cloneDemand(10, 1024 * MiB, 700 * MiB, [20 * MiB, 40 * MiB])).toEqual({
      ...{ count: 10, eachBytes: 50 * MiB, onceBytes: 0 },
      isMeasured: true,
    });
  });
});
