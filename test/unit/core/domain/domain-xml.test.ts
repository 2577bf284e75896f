import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { assertRenderedDomain, hasDisk, memberMetadata, parseMemberMark, sealDefinition } from '../../../../src/core/domain/domain-xml.js';
import { forwardedPortsIn } from '../../../../src/core/domain/network.js';
import { compileDomainTemplate, type Platform } from '../../../../src/core/domain/template.js';
import { memberIdentity } from '../../../../src/core/fleet/identity.js';
import { type FleetRecord, parseFleetRecord } from '../../../../src/core/fleet/record.js';
import type { BaseImage } from '../../../../src/core/image/base.js';
import { defaultDomainSpec } from '../../../../src/core/spec/spec.js';

const source = readFileSync(new URL('../../../../templates/domain.xml.hbs', import.meta.url), 'utf8');
const id = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';
const digest = 'ab'.repeat(32);
const member = memberIdentity('lab', id, 3);
const record: FleetRecord = {
  version: 1,
  id,
  name: 'lab',
  base: { name: 'golden', digest },
  spec: { ...defaultDomainSpec, variables: { role: 'a < b & "c"' } },
  createdAt: '2026-01-01T00:00:00.000Z',
  freshOverlayBytes: 12288,
  members: [member],
};
const base = {
  name: 'golden',
  digest,
  path: '/store/bases/golden/abab.qcow2',
  format: 'qcow2',
  backing: [] as BaseImage['backing'],
} as BaseImage;
const platform: Platform = {
  virtType: 'qemu',
  arch: 'x86_64',
  machine: 'pc',
  emulator: '/usr/bin/qemu-system-x86_64',
  hasUefi: true,
  hasTpm: true,
};
const files = {
  overlay: "/store/it's & co/lab-003.qcow2",
  consoleLog: '/store/lab-003.log',
  seed: '/store/lab-003.iso',
  disk: (stem: string) => (stem === 'lab-003' ? "/store/it's & co/lab-003.qcow2" : `/store/${stem}.qcow2`),
  nvram: '/store/nvram/lab-003.fd',
  agentSocket: undefined,
};
const render = (template: string, spec = record.spec): string =>
  compileDomainTemplate(template, 'test', () => base, platform)({ ...record, spec }, member, files);
const verify = (xml: string): void =>
  assertRenderedDomain(xml, {
    record,
    member,
    disks: [{ path: files.overlay, base }],
    seedPath: files.seed,
    nvramPath: files.nvram,
    forwardedPorts: forwardedPortsIn(xml),
    storeRoot: '/store',
  });

describe('the built-in template', () => {
  it('gives the domain of the member, whatever the spec', () => {
    for (const network of ['none', 'user', 'network=default', 'bridge=br0']) {
      for (const lean of [true, false]) {
        for (const seed of ['none', 'nocloud', 'smbios'] as const) verify(render(source, { ...record.spec, network, lean, seed }));
      }
    }
  });

  it('has the lean additions only when lean', () => {
    expect(render(source)).toContain('capability="cpu-unavailable-features"');
    const plain = render(source, { ...record.spec, lean: false });
    expect(plain).not.toContain('qemu:');
    expect(plain).not.toContain('usb');
  });

  it('has the requested CPU, or else the one of 0.1.0', () => {
    const withCpu = (cpu: string | undefined, virtType: 'kvm' | 'qemu') =>
      compileDomainTemplate(source, 'test', () => base, { ...platform, virtType, cpu })(record, member, files);
    // A changed byte would change the digest: every domain would be redefined, and no checkpoint would match.
    expect(withCpu('host-model', 'kvm')).toContain('  <features>\n    <acpi/>\n  </features>\n  <cpu mode="host-model"/>\n  <genid/>\n');
    expect(withCpu(undefined, 'qemu')).toContain('  </features>\n  <genid/>\n');
    expect(withCpu('max', 'qemu')).toContain('  </features>\n  <cpu mode="maximum"/>\n  <genid/>\n');
    const asked = { ...record, spec: { ...record.spec, cpu: 'EPYC' } };
    const expectation = {
      member,
      disks: [{ path: files.overlay, base }],
      seedPath: '',
      nvramPath: '',
      forwardedPorts: [],
      storeRoot: '/store',
    };
    const rendered = compileDomainTemplate(source, 'test', () => base, { ...platform, cpu: 'EPYC' })(asked, member, files);
    assertRenderedDomain(rendered, { ...expectation, record: asked });
    // A template with its own CPU.
    expect(() => assertRenderedDomain(rendered.replace('>EPYC<', '>Haswell<'), { ...expectation, record: asked })).toThrow(
      expect.objectContaining({ code: 'BAD_TEMPLATE', details: [expect.stringContaining('leave --cpu out')] }),
    );
  });

  it('passes its identity to a guest', () => {
    const seeded = render(source, { ...record.spec, seed: 'nocloud' });
    expect(seeded).toMatch(/<source file="\/store\/lab-003.iso"\/>\s*<target dev="vdb" bus="virtio"\/>\s*<readonly\/>/);
    expect(seeded).not.toContain('smbios');
    const named = render(source, { ...record.spec, seed: 'smbios' });
    expect(named).toContain('<entry name="serial">ds=nocloud;h=lab-003</entry>');
    expect(named).not.toContain('vdb');
  });

  it('forwards a port with QEMU options in place of the interface', () => {
    const forwarded = compileDomainTemplate(source, 'test', () => base, platform)(record, { ...member, sshPort: 22_003 }, files);
    verify(forwarded);
    expect(forwarded).toContain('hostfwd=tcp:127.0.0.1:22003-:22');
    expect(forwarded).toContain(`mac=${member.macs[0]}`);
    expect(forwarded).not.toContain('<interface');
    expect(forwarded).toContain('xmlns:qemu');
  });

  it('names formats, and terminates the backing chain', () => {
    const xml = render(source);
    expect(xml).toMatch(/<driver name="qemu" type="qcow2"/);
    expect(xml).toMatch(/<backingStore type="file">\s*<format type="qcow2"\/>[\s\S]*<backingStore\/>\s*<\/backingStore>/);
    expect(xml).not.toContain('graphics');
  });
});

describe('the mark in the metadata', () => {
  it('is read back as written, even with markup in the spec', () => {
    const { xml, definition } = sealDefinition(memberMetadata(record, member));
    const mark = parseMemberMark(xml);
    expect(mark).toMatchObject({ fleet: 'lab', fleetId: id, index: 3, baseName: 'golden', baseDigest: digest, definition });
    expect(JSON.parse(mark?.spec ?? '')).toEqual(record.spec);
  });

  it('is the same for a record that was composed and one that was read', () => {
    const { seed, ...spec } = { ...record.spec, cpu: 'max', rootBytes: 1024, template: digest, userData: digest };
    const composed = { ...record, spec: { ...spec, seed } };
    const read = parseFleetRecord('lab', JSON.stringify(composed));
    expect(Object.keys(read.spec)).not.toEqual(Object.keys(composed.spec));
    expect(memberMetadata(read, member)).toBe(memberMetadata(composed, member));
  });

  it('changes its digest with the domain, and only then', () => {
    expect(sealDefinition(render(source)).definition).toBe(sealDefinition(render(source)).definition);
    expect(sealDefinition(render(source, { ...record.spec, vcpus: 2 })).definition).not.toBe(sealDefinition(render(source)).definition);
  });

  it.each(['', '<a/>', '<cowherd:member', "<member index='0' base='sha256:x'/>", "<member index='two'/>"])('is nothing in %j', (xml) => {
    expect(parseMemberMark(xml)).toBeUndefined();
  });
});

describe('a rendered domain is refused', () => {
  it.each<[string, (xml: string) => string, RegExp]>([
    ['with a second document type', (xml) => `<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]>${xml}`, /document type/],
    [
      'with the base as a disk',
      (xml) => xml.replace('</devices>', `<disk type="file"><source file="${base.path}"/></disk></devices>`),
      /base image itself/,
    ],
    [
      'with a disk of another member',
      (xml) => xml.replace('</devices>', '<disk type="file"><source file="/store/x/../lab-004.qcow2"/></disk></devices>'),
      /another file of the store/,
    ],
    ['with an open backing chain', (xml) => xml.replace('<backingStore/>', ''), /backing chain is not terminated/],
    ['with another uuid', (xml) => xml.replace(member.uuid, id), /<uuid> is/],
    ['with the mark of another member', (xml) => xml.replace('index="3"', 'index="4"'), /another member's mark/],
    ['with a probed format', (xml) => xml.replace(' type="qcow2" cache', ' cache'), /driver type of the overlay is "", not "qcow2"/],
    [
      'with the overlay twice',
      (xml) => xml.replace('</devices>', `<disk type="file"><source file="/store/it&apos;s &amp; co/lab-003.qcow2"/></disk></devices>`),
      /2 disks have the overlay/,
    ],
    ['that is no domain', () => '<network/>', /root is not <domain>/],
  ])('%s', (_what, change, message) => {
    let details = '';
    try {
      verify(change(render(source)));
    } catch (error) {
      details = (error as { details: string[] }).details.join('\n');
    }
    expect(details).toMatch(message);
  });
});

describe('the disk of a domain as libvirt prints it', () => {
  const disk = (source: string, backing: string): string =>
    `<domain><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${source}'/><backingStore type='file'><format type='qcow2'/><source file='${backing}'/><backingStore/></backingStore></disk></devices></domain>`;
  it('is its own source, not the backing file', () => {
    expect(hasDisk(disk('/s/a &amp; b/lab-001.qcow2', '/b.qcow2'), '/s/a & b/lab-001.qcow2')).toBe(true);
    expect(hasDisk(disk('/s/snapshot', '/s/lab-001.qcow2'), '/s/lab-001.qcow2')).toBe(false);
    expect(hasDisk('<domain/>', '/s/lab-001.qcow2')).toBe(false);
  });
});
