import { describe, expect, it } from 'vitest';
import { assertRenderedDomain } from '../../../src/core/domain/domain-xml.js';
import { templateFromDomain } from '../../../src/core/domain/template-from-domain.js';
import { element, elements, parseXml, type XmlElement } from '../../../src/core/domain/xml-tree.js';
import { domainFixtures } from '../../fixtures/domains.js';
import { renderAsMember } from '../../fixtures/members.js';

/** What only one guest can have, by fixture. */
const refused: Record<string, RegExp[]> = {
  'luks-secret': [/vda is encrypted/],
  'nova-rbd': [/vda is of type network/],
  passthrough: [/vdb is of type block/, /device of the host \(pci\)/, /device of the host \(usb\)/],
  'shared-transient': [/vdb is shared/, /vdc is transient/],
  'terraform-volume': [/sda is of type volume/],
};

const accepted = domainFixtures.filter(({ name }) => refused[name] === undefined);

describe('a template made of a domain', () => {
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

  it.each(accepted)('gives a member of its own for $name', ({ name, xml }) => {
    const original = parseXml(xml, name);
    const { disks, nvram, spec } = templateFromDomain(name, xml);
    const { rendered, expected } = renderAsMember(name, xml);
    assertRenderedDomain(rendered, expected);
    // Nothing that is the domain's own is left.
    const own = [element(original, 'uuid')?.children[0], element(original, 'devices', 'interface', 'mac')?.attributes.get('address')];
    // The medium in a CD-ROM drive is everybody's.
    const withoutMedia = rendered.replace(/<disk [^>]*device="cdrom"[\s\S]*?<\/disk>/g, '');
    const words = [
      ...own.map((node) => (typeof node === 'object' && 'text' in node ? node.text : node)),
      ...disks.map((disk) => disk.path),
      nvram,
    ];
    for (const word of words) if (word !== undefined && word !== '') expect(withoutMedia).not.toContain(word);
    // Everything else is as many and as it was.
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

  it('keeps the metadata of others beside the mark', () => {
    const fixture = accepted.find(({ name }) => name === 'nova-openstack');
    const { rendered } = renderAsMember('nova', fixture?.xml ?? '');
    expect(elements(element(parseXml(rendered, 'it'), 'metadata')).map((child) => child.name)).toEqual(['nova:instance', 'cowherd:member']);
  });

  it('takes a backslash before the name for what it is', () => {
    const fixture = accepted.find(({ name }) => name === 'nova-openstack');
    const xml = (fixture?.xml ?? '').replace('OpenStack Nova', 'C:\\nova and {{braces}}');
    expect(renderAsMember('nova', xml).rendered).toContain('>C:&#92;lab-001 and &#123;&#123;braces&#125;&#125;<'.replaceAll('&#125;', '}'));
  });

  it('tells one interface from the other', () => {
    const fixture = domainFixtures.find(({ name }) => name === 'virt-install-bios');
    const xml = (fixture?.xml ?? '').replace('<interface', '<interface type="user"><target dev="vnet7"/></interface><interface');
    const { spec, template } = templateFromDomain('two', xml);
    expect(spec).toMatchObject({ nics: 2, network: 'user' });
    expect(template).not.toContain('vnet7');
    expect(template).toContain('{{macs.[0]}}');
    expect(template).toContain('{{macs.[1]}}');
  });
});
