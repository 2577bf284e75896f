import { describe, expect, it } from 'vitest';
import { assertRenderedDomain } from '../../../../src/core/domain/domain-xml.js';
import { templateFromDomain } from '../../../../src/core/domain/template-from-domain.js';
import { element, elements, parseXml, type XmlElement } from '../../../../src/core/domain/xml-tree.js';
import { domainFixtures } from '../../../fixtures/domains.js';
import { renderAsMember } from '../../../fixtures/members.js';

/** Devices that only one guest can have, by fixture. */
const refused: Record<string, RegExp[]> = {
  'luks-secret': [/vda is encrypted/],
  'nova-rbd': [/vda is of type network/],
  passthrough: [/vdb is of type block/, /device of the host \(pci\)/, /device of the host \(usb\)/],
  'shared-transient': [/vdb is shared/, /vdc is transient/],
  'terraform-volume': [/sda is of type volume/],
};

const accepted = domainFixtures.filter(({ name }) => refused[name] === undefined);

describe('a template created from a domain', () => {
  it.each(domainFixtures.filter(({ name }) => refused[name] !== undefined))('is refused for $name, with every reason', ({ name, xml }) => {
    const details = (): string[] => {
      try {
        templateFromDomain(name, xml);
        return [];
      } catch (error) {
        return (error as { details: string[] }).details;
      }
    };
    const found = details();
    expect(found).toHaveLength(refused[name]?.length ?? 0);
    for (const [position, pattern] of (refused[name] ?? []).entries()) expect(found[position]).toMatch(pattern);
  });

  it.each([
    ['lab', 'lab', '{{name}}'],
    ['lab', 'ds=nocloud;h=lab', 'ds=nocloud;h={{name}}'],
    ['lab', 'lab.example, lab', '{{name}}.example, {{name}}'],
    ['lab', 'Collaborative', 'Collaborative'],
    ['lab', 'lab2 lab-2 my-lab my_lab élab lablab', 'lab2 lab-2 my-lab my_lab élab lablab'],
    ['a+b', 'a+b a+b1', '{{name}} a+b1'],
    ['$&', '$& {{x}}', '{{name}} &#123;&#123;x}}'],
  ])('for a domain named %s replaces only its name as a whole in %j', (name, text, expected) => {
    const entry = text.replaceAll('&', '&amp;');
    const xml = `<domain type='kvm'><name>x</name><uuid>2c3b1d8e-93ab-4f0e-b3d3-30a6f9d5a001</uuid><memory>65536</memory><os><type>hvm</type></os>
<sysinfo type='smbios'><system><entry name='product'>${entry}</entry></system></sysinfo>
<devices><disk type='file'><source file='/d'/><target dev='vda'/></disk></devices></domain>`;
    expect(/<entry[^>]*>(.*)<\/entry>/.exec(templateFromDomain(name, xml).template)?.[1]).toBe(expected);
  });

  it('gives each member a directory of its own for the state of its TPM, unless only one guest can have it', () => {
    const withTpm = (backend: string) =>
      templateFromDomain(
        'g',
        `<domain type='kvm'><name>g</name><memory>65536</memory><os><type>hvm</type></os><devices><disk type='file'><source file='/d'/><target dev='vda'/></disk>
<tpm model='tpm-crb'>${backend}</tpm></devices></domain>`,
      );
    const { spec, template } = withTpm(
      `<backend type='emulator' version='2.0'><source type='dir' path='/srv/tpm'/><encryption secret='x'/></backend>`,
    );
    expect(spec.tpm).toBe(true);
    expect(template).toMatch(/<backend type="emulator" version="2.0"><encryption secret="x"\/><\/backend>/);
    for (const type of ['external', 'passthrough'])
      expect(() => withTpm(`<backend type='${type}'><source type='unix' path='/run/tpm'/></backend>`)).toThrow(
        expect.objectContaining({ code: 'NOT_SUPPORTED', details: [expect.stringContaining('TPM')] }),
      );
  });

  it('gives each member a forwarded port of its own, and keeps the MAC address that QEMU forwards to', () => {
    const arg = (value: string): string => `<qemu:arg value='${value}'/>`;
    const nic = 'virtio-net-pci,netdev=cowherd0,mac=52:54:00:2e:f6:3a,addr=0x1e';
    const made = (forward: string) =>
      templateFromDomain(
        'g',
        `<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>g</name><memory>65536</memory><os><type>hvm</type></os>
<devices><disk type='file'><source file='/d'/><target dev='vda'/></disk></devices>
<qemu:commandline>${['-netdev', forward, '-device', nic].map(arg).join('')}</qemu:commandline></domain>`,
      );
    const { template, spec, notes } = made('user,id=cowherd0,hostfwd=tcp:127.0.0.1:22000-:22');
    expect(spec).toMatchObject({ network: 'user', forwardSsh: true });
    expect(template).toContain('"user,id=cowherd0,hostfwd=tcp:127.0.0.1:{{sshPort}}-:22"');
    expect(template).toContain(nic);
    expect(notes.join()).not.toContain('QEMU arguments');
    // Written by someone else: not understood, and a note says so.
    const foreign = made('user,id=cowherd0,hostfwd=tcp::8080-:80');
    expect(foreign.spec).toMatchObject({ network: 'none', forwardSsh: false });
    expect(foreign.notes.join()).toContain('its own QEMU arguments are the same for every member');
  });

  it.each(accepted)('gives a separate member for $name', ({ name, xml }) => {
    const original = parseXml(xml, name);
    const { disks, nvram, spec } = templateFromDomain(name, xml);
    const { rendered, expected } = renderAsMember(name, xml);
    assertRenderedDomain(rendered, expected);
    // Nothing specific to the domain is left.
    const own = [element(original, 'uuid')?.children[0], element(original, 'devices', 'interface', 'mac')?.attributes.get('address')];
    // The medium in a CD-ROM drive is shared.
    const withoutMedia = rendered.replace(/<disk [^>]*device="cdrom"[\s\S]*?<\/disk>/g, '');
    const words = [
      ...own.map((node) => (typeof node === 'object' && 'text' in node ? node.text : node)),
      ...disks.map((disk) => disk.path),
      nvram,
    ];
    for (const word of words) if (word !== undefined && word !== '') expect(withoutMedia).not.toContain(word);
    // Everything else is unchanged.
    const member = parseXml(rendered, name);
    const kept = (root: XmlElement): string[] =>
      elements(root)
        .map((child) => child.name)
        .filter((kind) => !['metadata', 'currentMemory'].includes(kind));
    expect(kept(member)).toEqual(kept(original));
    const devices = (root: XmlElement): string[] => elements(element(root, 'devices')).map((child) => child.name);
    expect(devices(member)).toEqual(devices(original));
    for (const kind of ['cpu', 'features', 'clock', 'cputune', 'numatune', 'iothreads', 'seclabel', 'qemu:commandline', 'memoryBacking'])
      expect(element(member, kind)).toEqual(element(original, kind));
    expect(spec.memoryMiB).toBeGreaterThan(0);
  });

  it('keeps foreign metadata beside the mark', () => {
    const fixture = accepted.find(({ name }) => name === 'nova-openstack');
    const { rendered } = renderAsMember('nova', fixture?.xml ?? '');
    expect(elements(element(parseXml(rendered, 'it'), 'metadata')).map((child) => child.name)).toEqual(['nova:instance', 'cowherd:member']);
  });

  it('keeps a backslash before the name', () => {
    const fixture = accepted.find(({ name }) => name === 'nova-openstack');
    const xml = (fixture?.xml ?? '').replace('OpenStack Nova', 'C:\\nova and {{braces}}');
    expect(renderAsMember('nova', xml).rendered).toContain('>C:&#92;lab-001 and &#123;&#123;braces&#125;&#125;<'.replaceAll('&#125;', '}'));
  });

  it('distinguishes interfaces', () => {
    const fixture = domainFixtures.find(({ name }) => name === 'virt-install-bios');
    const xml = (fixture?.xml ?? '').replace('<interface', '<interface type="user"><target dev="vnet7"/></interface><interface');
    const { spec, template } = templateFromDomain('two', xml);
    expect(spec).toMatchObject({ nics: 2, network: 'user' });
    expect(template).not.toContain('vnet7');
    expect(template).toContain('{{macs.[0]}}');
    expect(template).toContain('{{macs.[1]}}');
  });
});
