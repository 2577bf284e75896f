import { describe, expect, it } from 'vitest';
import { imagesNamedIn, judgeDisks, nvramOf } from '../../../../src/core/domain/foreign-domain.js';
import { attribute, element, elements, parseXml, printXml, removeChild } from '../../../../src/core/domain/xml-tree.js';
import { overlayElement, sideOf, strayDisks, switchDisks, withoutSecrets } from '../../../../src/core/snapshot/xml.js';
import { domainFixtures } from '../../../fixtures/domains.js';

interface Expected {
  disks: Record<string, 'qcow2' | 'raw'>;
  problems?: RegExp[];
  notes?: RegExp[];
  nvram?: string;
}

const expected: Record<string, Expected> = {
  'aarch64-virt': { disks: { vda: 'qcow2' }, nvram: '/var/lib/libvirt/qemu/nvram/arm_VARS.fd' },
  cockpit: { disks: { vda: 'qcow2' } },
  'direct-kernel': { disks: { vda: 'raw' } },
  'gnome-boxes': { disks: { vda: 'qcow2' } },
  'kcli-backed': { disks: { vda: 'qcow2' } },
  'luks-secret': { disks: { vdb: 'qcow2' }, problems: [/vda is encrypted/] },
  'nova-openstack': { disks: { vda: 'qcow2', vdb: 'qcow2' } },
  'nova-rbd': { disks: { vdb: 'raw' }, problems: [/vda is of type "network"/] },
  passthrough: { disks: { vda: 'raw' }, problems: [/vdb is of type "block"/], notes: [/passed through/] },
  'scsi-many-disks': { disks: { sda: 'qcow2', sdb: 'raw', hda: 'qcow2' } },
  'seclabel-numa': { disks: { vda: 'raw', vdb: 'qcow2' } },
  'shared-transient': { disks: { vda: 'qcow2' }, problems: [/vdb is <shareable>/, /vdc is <transient>/] },
  'terraform-volume': { disks: { vdb: 'qcow2' }, problems: [/sda is of type "volume".*vol-path/] },
  // libvirt keeps them, but does not say where.
  'uefi-autoselect': { disks: { vda: 'qcow2' }, nvram: '/own' },
  'uefi-nvram-oneline': { disks: { vda: 'qcow2', vdb: 'raw' }, nvram: '/var/lib/libvirt/qemu/nvram/compact_VARS.fd' },
  'uefi-secure-boot-tpm': { disks: { sda: 'qcow2' }, notes: [/TPM/], nvram: '/var/lib/libvirt/qemu/nvram/win11_VARS.fd' },
  'vagrant-libvirt': { disks: { vda: 'qcow2', vdb: 'qcow2' } },
  'virt-install-bios': { disks: { vda: 'qcow2' } },
  'virt-manager-spice': { disks: { vda: 'qcow2' } },
  virtiofs: { disks: { vda: 'qcow2' }, notes: [/directories of the host/] },
};

/** A domain without its covered disks, for comparison. */
function apartFrom(xml: string, targets: readonly string[]): string {
  const root = parseXml(xml, 'it');
  for (const disk of elements(element(root, 'devices'), 'disk')) {
    if (!targets.includes(attribute(element(disk, 'target'), 'dev') ?? '')) continue;
    for (const name of ['source', 'backingStore']) {
      const part = element(disk, name);
      if (part !== undefined) removeChild(disk, part);
    }
    const driver = element(disk, 'driver');
    driver?.attributes.delete('type');
    if (driver !== undefined && [...driver.attributes.keys()].join() === 'name' && driver.children.length === 0) removeChild(disk, driver);
  }
  return printXml(root);
}

it('knows what to expect of every fixture', () => {
  expect(domainFixtures).toHaveLength(20);
  expect(domainFixtures.map(({ name }) => name)).toEqual(Object.keys(expected).sort());
});

describe.each(domainFixtures)('a snapshot of $name', ({ name, xml }) => {
  const wanted = expected[name] ?? { disks: {} };
  const root = parseXml(xml, name);
  const judged = judgeDisks(root);
  const switched = judged.disks.map(({ target, image, element: disk }) => {
    const overlay = `/store/1-x/${target}.qcow2`;
    return {
      target,
      from: image,
      to: { path: overlay, format: 'qcow2' as const },
      element: printXml(overlayElement(disk, overlay, [image, { path: '/deep & deeper.qcow2', format: 'qcow2' }])),
    };
  });
  const back = judged.disks.map(({ target, element: disk }) => ({ target, element: printXml(disk) }));

  it('covers its writable files, and reports the rest', () => {
    expect(Object.fromEntries(judged.disks.map(({ target, image }) => [target, image.format]))).toEqual(wanted.disks);
    expect(judged.problems).toEqual((wanted.problems ?? []).map((problem) => expect.stringMatching(problem)));
    expect(judged.notes).toEqual((wanted.notes ?? []).map((note) => expect.stringMatching(note)));
    expect(nvramOf(root, '/own').path).toBe(wanted.nvram);
  });

  it('changes only the driver type, source and backingStore of its disks', () => {
    const edited = switchDisks(xml, switched);
    const targets = Object.keys(wanted.disks);
    expect(apartFrom(edited, targets)).toBe(apartFrom(xml, targets));
    expect(sideOf(xml, switched)).toBe('before');
    expect(sideOf(edited, switched)).toBe('after');
    for (const disk of elements(element(parseXml(edited, 'it'), 'devices'), 'disk')) {
      if (!targets.includes(attribute(element(disk, 'target'), 'dev') ?? '')) continue;
      expect(attribute(element(disk, 'driver'), 'type')).toBe('qcow2');
      // Terminated, so that nothing is probed.
      let link = element(disk, 'backingStore');
      while (attribute(link, 'type') !== undefined) link = element(link, 'backingStore');
      expect(link).toBeDefined();
    }
  });

  it('leaves no trace when its disks are restored', () => {
    expect(switchDisks(switchDisks(xml, switched), back)).toBe(printXml(parseXml(xml, 'it')));
  });

  it('keeps edits made in between', () => {
    const edited = switchDisks(xml, switched).replace(/<memory[^<]*<\/memory>/, '<memory unit="MiB">77</memory>');
    expect(switchDisks(edited, back)).toBe(
      printXml(parseXml(xml, 'it')).replace(/<memory[^<]*<\/memory>/, '<memory unit="MiB">77</memory>'),
    );
  });

  it('shows no password', () => {
    expect(withoutSecrets(xml)).not.toMatch(/s3cret|hunter2/);
  });
});

describe('the chain of an overlay', () => {
  const fixture = (name: string) => parseXml(domainFixtures.find((domain) => domain.name === name)?.xml ?? '', name);
  const disk = (name: string, position = 0) => judgeDisks(fixture(name)).disks[position];

  it('keeps the chain in the XML, one link further down', () => {
    const kcli = disk('kcli-backed');
    expect(kcli).toMatchObject({ isEnded: true, spelled: [{ path: '/var/lib/libvirt/images/centos9stream.qcow2', format: 'qcow2' }] });
    if (kcli === undefined) return;
    const edited = overlayElement(kcli.element, '/o.qcow2', [kcli.image, ...kcli.spelled]);
    const paths: Array<string | undefined> = [];
    for (let link = element(edited, 'backingStore'); attribute(link, 'type') !== undefined; link = element(link, 'backingStore'))
      paths.push(attribute(element(link, 'source'), 'file'));
    expect(paths).toEqual(['/var/lib/libvirt/images/k8s-ctlplane-0_0.img', '/var/lib/libvirt/images/centos9stream.qcow2']);
  });

  it("gives the original's label to its link", () => {
    const labelled = disk('seclabel-numa');
    if (labelled === undefined) throw new Error('no disk');
    const edited = overlayElement(labelled.element, '/o.qcow2', [labelled.image]);
    expect(attribute(element(edited, 'source', 'seclabel'), 'relabel')).toBe('no');
    expect(attribute(element(edited, 'backingStore', 'source', 'seclabel'), 'relabel')).toBe('no');
    expect(attribute(element(edited, 'backingStore', 'format'), 'type')).toBe('raw');
  });
});

describe('a domain that was changed by others', () => {
  const xml = domainFixtures.find(({ name }) => name === 'nova-openstack')?.xml ?? '';
  const switched = judgeDisks(parseXml(xml, 'it')).disks.map(({ target, image, element: disk }) => ({
    target,
    from: image,
    to: { path: `/o/${target}`, format: 'qcow2' as const },
    element: printXml(overlayElement(disk, `/o/${target}`, [image])),
  }));
  const recorded = new Map(switched.map(({ target, to }) => [target, to]));

  it('is on neither side if its disks are mixed', () => {
    const mixed = switchDisks(xml, switched.slice(0, 1));
    expect(sideOf(mixed, switched)).toBe('elsewhere');
    expect(strayDisks(mixed, recorded)).toEqual([expect.stringContaining('disk vdb is /opt/stack')]);
  });

  it('is stray if a disk is missing, has another format, or is raw by mistake', () => {
    const edited = switchDisks(xml, switched);
    expect(strayDisks(edited, recorded)).toEqual([]);
    expect(strayDisks(edited.replace('dev="vda"', 'dev="vdz"'), recorded)).toEqual([
      expect.stringContaining('vda is no longer in its XML'),
    ]);
    expect(strayDisks(edited.replace('type="qcow2"', 'type="raw"'), recorded)).toHaveLength(1);
    expect(() => switchDisks(xml.replace('dev="vda"', 'dev="vdz"'), switched)).toThrow(/no longer has a disk vda/);
  });

  it('names every image, chains included', () => {
    const { files, heads } = imagesNamedIn(switchDisks(xml, switched), 'it');
    expect(heads.map(({ target }) => target)).toEqual(['vda', 'vdb', 'hda']);
    expect(files).toHaveLength(5);
  });
});

it.each([
  ['no disk at all', '<domain><devices/></domain>', /no writable disk/],
  ['one file twice', twice('/a.raw', '/a.raw'), /attached twice/],
  ['a relative path', twice('a.raw', '/b.raw'), /not an absolute path/],
  [
    'a backing file over the network',
    twice('/a.qcow2', '/b.raw', '<backingStore type="network"><format type="raw"/></backingStore>'),
    /type "network"/,
  ],
  ['a slice of a file', twice('/a.raw', '/b.raw', '', '<slices/>'), /<slices>/],
])('refuses %s', (_what, xml, problem) => {
  expect(judgeDisks(parseXml(xml, 'it')).problems).toEqual([expect.stringMatching(problem)]);
});

function twice(first: string, second: string, store = '', inSource = ''): string {
  const disk = (path: string, target: string, more = '', inner = '') =>
    `<disk type="file"><driver type="raw"/><source file="${path}">${inner}</source>${more}<target dev="${target}"/></disk>`;
  return `<domain><devices>${disk(first, 'vda', store, inSource)}${disk(second, 'vdb')}</devices></domain>`;
}
