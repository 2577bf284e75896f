import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseCpuOffers } from '../../src/adapters/libvirt/cpu-offers.js';
import { parseDomainStates, parseIdentities } from '../../src/adapters/libvirt/domain-states.js';
import { faultOf, virshError } from '../../src/adapters/libvirt/session/virsh-errors.js';
import { parseImageInfo } from '../../src/adapters/qemu/qemu-img.js';
import { hasDisk, parseMemberMark } from '../../src/core/domain/domain-xml.js';
import { imagesNamedIn, imagesPrintedIn, judgeDisks, nvramOf } from '../../src/core/domain/foreign-domain.js';
import { parseNetworkXml } from '../../src/core/domain/network.js';
import { templateFromDomain } from '../../src/core/domain/template-from-domain.js';
import { parseXml } from '../../src/core/domain/xml-tree.js';
import { machineIn } from '../../src/core/snapshot/checkpoint.js';

/** Recorded tool output of each release (test/fixtures/releases/record.ts), through every parser. */
const root = new URL('../fixtures/releases/', import.meta.url);
const releases = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => {
    const text = (file: string): string => readFileSync(new URL(`${name}/${file}`, root), 'utf8');
    return { name, text, versions: JSON.parse(text('versions.json')) as Record<string, string> };
  });

it('there are recordings of Debian 12 and 13', () => {
  expect(releases.map(({ versions }) => versions.os)).toEqual([expect.stringContaining('12'), expect.stringContaining('13')]);
});

describe.each(releases)('$name, libvirt $versions.libvirt, QEMU $versions.qemu', ({ text }) => {
  const errors = JSON.parse(text('errors.json')) as Record<string, string>;
  const store = '/var/lib/libvirt/images/cwt-record';
  const overlay = `${store}/fleets/cwt-rec/overlays/cwt-rec-001.qcow2`;

  it('the list of domains and their states', () => {
    const names = ['cwt-rec-001', 'cwt-rec-002', 'cwt-rec-uefi-001', 'cwt-rec-uefi-002'];
    expect(
      parseIdentities(text('list.txt'))
        .map(({ name }) => name)
        .sort(),
    ).toEqual(names);
    const states = parseDomainStates(text('domstats.txt'));
    expect([...states.keys()].sort()).toEqual(names);
    expect(states.get('cwt-rec-001')).toEqual({ state: 'running', reason: 'booted' });
    expect(states.get('cwt-rec-uefi-002')?.state).toBe('shutOff');
  });

  it('the XML of a member', () => {
    const xml = text('domain-bios.xml');
    expect(parseMemberMark(text('metadata.xml'))).toMatchObject({ fleet: 'cwt-rec', index: 1, baseName: 'golden' });
    expect(hasDisk(xml, overlay)).toBe(true);
    expect(machineIn('cwt-rec-001', xml)).toEqual({
      machine: expect.stringMatching(/^pc-i440fx-/),
      definition: parseMemberMark(text('metadata.xml'))?.definition,
    });
    const base = expect.stringMatching(/\/bases\/golden\/[0-9a-f]{12}\.qcow2$/);
    const seed = `${store}/fleets/cwt-rec/seeds/cwt-rec-001.iso`;
    expect(imagesNamedIn(xml, 'x').heads.map(({ path }) => path)).toEqual([overlay, seed]);
    expect(imagesPrintedIn(xml)).toEqual({ files: [overlay, base, seed], heads: [overlay, seed] });
    expect(judgeDisks(parseXml(xml, 'x')).disks).toMatchObject([{ target: 'vda' }]);
  });

  it('the XML of UEFI domains, with a named NVRAM and with a firmware chosen by libvirt', () => {
    const member = `${store}/fleets/cwt-rec-uefi/nvram/cwt-rec-uefi-001.fd`;
    expect(nvramOf(parseXml(text('domain-uefi.xml'), 'x'), '/own')).toEqual({ path: member });
    expect(templateFromDomain('x', text('domain-uefi.xml'))).toMatchObject({ spec: { firmware: 'uefi', tpm: true }, nvram: member });
    const chosen = nvramOf(parseXml(text('domain-own-uefi.xml'), 'x'), '/var/lib/libvirt/qemu/nvram/cwt-rec-own_VARS.fd');
    expect(chosen).toEqual({ path: '/var/lib/libvirt/qemu/nvram/cwt-rec-own_VARS.fd' });
    const { spec, template } = templateFromDomain('x', text('domain-own-uefi.xml'));
    expect(spec).toMatchObject({ firmware: 'uefi', network: 'user', memoryMiB: 64 });
    expect(template).toMatch(/<nvram[^>]*>\{\{nvram\}\}<\/nvram>/);
  });

  it('what a host offers', () => {
    const offers = parseCpuOffers(text('domcapabilities-qemu.xml'));
    expect(offers.modes).toEqual(expect.arrayContaining(['host-model', 'custom']));
    expect(offers.models).toEqual(expect.arrayContaining(['qemu64', 'Westmere']));
    expect(text('secmodels.xml')).toMatch(/<model>dac<\/model>[\s\S]*<baselabel type='qemu'>\+64055:\+64055</);
  });

  it('a network', () => {
    expect(parseNetworkXml(text('network.xml'))).toMatchObject({
      name: 'cwt-rec',
      bridge: 'cwt-rec',
      ranges: [{ start: '127.77.1.10', end: '127.77.1.99' }],
      hosts: [{ mac: '52:54:00:aa:bb:01', name: 'cwt-rec-001', ip: '127.77.1.10' }],
    });
  });

  it('an image', () => {
    expect(parseImageInfo(text('image-info.json'))).toMatchObject({
      format: 'qcow2',
      virtualBytes: 64 * 1024 ** 2,
      backing: { format: 'qcow2' },
      extras: [],
    });
  });

  it.each([
    ['no such domain', 'domain not found'],
    ['already running', 'already running'],
    ['not running', 'not running'],
    ['no such network', 'network not found'],
    ['agent not connected', 'other'],
  ])('the error: %s', (name, fault) => {
    expect(faultOf(errors[name] ?? '')).toBe(fault);
  });

  it('a domain without cowherd metadata: an error, or no output', () => {
    if (errors['no metadata'] !== undefined) expect(faultOf(errors['no metadata'])).toBe('no metadata');
    else expect(parseMemberMark('')).toBeUndefined();
  });

  it.each([
    ['name taken', 'FOREIGN_DOMAIN', /Rename it/],
    ['not in the schema', 'BAD_TEMPLATE', /template eject/],
    ['network not active', 'TOOL_FAILED', /net-start/],
    ['disk in use', 'TOOL_FAILED', /Another process has the disk open/],
    ['disk missing', 'TOOL_FAILED', /which does not exist/],
    ['disk not readable', 'TOOL_FAILED', /cannot access that file/],
    ['port taken', 'TOOL_FAILED', /uses the port/],
  ])('the hint for: %s', (name, code, hint) => {
    expect(virshError('define lab-001', errors[name] ?? '')).toMatchObject({ code, hint: expect.stringMatching(hint) });
  });
});
