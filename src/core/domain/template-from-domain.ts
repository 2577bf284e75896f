import { CowherdError } from '../errors.js';
import { removeSharedMemory } from '../memory/sharing.js';
import { escapeXml } from '../quoting.js';
import type { DomainSpec } from '../spec/spec.js';
import { kibOf, networkOf, splitAtWord } from './domain-conversion.js';
import { metadataNamespace } from './domain-xml.js';
import {
  type ConversionReport,
  convertForwardedPort,
  convertInterfaces,
  convertPorts,
  convertTpm,
  reportSingleGuestDevices,
} from './template-devices.js';
import { convertDisks, type SourceDisk } from './template-disks.js';
import { hidden, hideBraces, raw, variable } from './template-tree.js';
import {
  attribute,
  element,
  elements,
  innerText,
  insertAfter,
  makeElement,
  parseXml,
  printXml,
  removeChild,
  setAttribute,
  type XmlElement,
} from './xml-tree.js';

/**
 * Creates the domain template of a fleet from an existing domain: its identity is replaced by variables, what
 * only one domain at a time can have is removed or refused, and the rest is unchanged.
 */

export interface DomainAsTemplate {
  template: string;
  /** Writable disks; the first one becomes the members' first disk. */
  disks: SourceDisk[];
  spec: Pick<DomainSpec, 'memoryMiB' | 'vcpus' | 'virtType' | 'network' | 'forwardSsh' | 'firmware' | 'tpm' | 'nics'>;
  /** The file of its UEFI variables. */
  nvram: string | undefined;
  /** Differences from the domain, and what all members share. */
  notes: string[];
}

/**
 * @param xml as libvirt defines it (`virsh dumpxml --inactive`)
 * @throws NOT_SUPPORTED, with every obstacle in the details
 */
export function templateFromDomain(domain: string, xml: string): DomainAsTemplate {
  return new Conversion(domain, parseXml(xml, `The XML of ${domain}`)).run();
}

class Conversion {
  readonly #domain: string;
  readonly #root: XmlElement;
  readonly #report: ConversionReport = { obstacles: [], notes: [] };

  constructor(domain: string, root: XmlElement) {
    this.#domain = domain;
    this.#root = root;
  }

  run(): DomainAsTemplate {
    const root = this.#root;
    const virtType = attribute(root, 'type');
    if (virtType !== 'kvm' && virtType !== 'qemu') this.#refuse(`its type is ${virtType}, and only kvm and qemu are supported`);
    removeSharedMemory(root);
    const devices = element(root, 'devices') ?? makeElement('devices');
    // Its text must not be read as a variable.
    hideBraces(root);
    const oldUuid = innerText(element(root, 'uuid'));
    const memoryMiB = this.#memory();
    const vcpus = this.#vcpus();
    const { firmware, nvram } = this.#firmware();
    const disks = convertDisks(devices, this.#report);
    const forwardSsh = convertForwardedPort(root);
    const network = forwardSsh ? 'user' : networkOf(elements(devices, 'interface')[0]);
    const nics = convertInterfaces(devices, this.#report);
    convertPorts(devices, this.#report);
    reportSingleGuestDevices(devices, this.#report);
    const tpm = convertTpm(devices, this.#report);
    this.#identity(oldUuid);
    if (!forwardSsh && elements(root).some((child) => child.name.endsWith(':commandline')))
      this.#report.notes.push('its own QEMU arguments are the same for every member');
    if (this.#report.obstacles.length > 0) {
      throw new CowherdError('NOT_SUPPORTED', `Cannot create a fleet from domain ${this.#domain} as it is`, {
        details: this.#report.obstacles,
        hint: 'Remove that from it (virsh edit), or write your own template: cowherd template eject.',
      });
    }
    return {
      template: printXml(root),
      disks,
      spec: { memoryMiB, vcpus, virtType: virtType as 'kvm' | 'qemu', network, forwardSsh, firmware, tpm, nics },
      nvram,
      notes: this.#report.notes,
    };
  }

  #refuse(obstacle: string): void {
    this.#report.obstacles.push(obstacle);
  }

  #identity(oldUuid: string): void {
    const root = this.#root;
    for (const name of ['name', 'uuid']) {
      const own = element(root, name) ?? makeElement(name);
      if (!root.children.includes(own)) root.children.unshift(own);
      own.children = [variable(name)];
    }
    setAttribute(root, 'type', undefined);
    root.attributes.set('type', '{{virtType}}');
    root.attributes.delete('id');
    let metadata = element(root, 'metadata');
    if (metadata === undefined) {
      metadata = makeElement('metadata');
      insertAfter(root, metadata, element(root, 'uuid'));
    }
    for (const mark of elements(metadata).filter((child) => [...child.attributes.values()].includes(metadataNamespace)))
      removeChild(metadata, mark);
    metadata.children.push({ kind: 'text', text: '{{{metadata}}}' });
    const genid = element(root, 'genid');
    if (genid !== undefined) genid.children = [];
    for (const entry of elements(root, 'sysinfo')
      .flatMap((info) => elements(info))
      .flatMap((group) => elements(group, 'entry'))) {
      const text = innerText(entry);
      if (text === oldUuid) entry.children = [variable('uuid')];
      else {
        const parts = splitAtWord(text, this.#domain);
        if (parts.length > 1)
          entry.children = parts.flatMap((part, position) => [...(position === 0 ? [] : [variable('name')]), raw(hidden(escapeXml(part)))]);
      }
    }
  }

  #memory(): number {
    const root = this.#root;
    const memory = element(root, 'memory');
    const kib = Math.round(Number(innerText(memory)) * kibOf(attribute(memory, 'unit')));
    const mib = Math.ceil(kib / 1024);
    if (memory === undefined || !(mib > 0)) {
      this.#refuse('its <memory> cannot be read');
      return 0;
    }
    // NUMA cells and hotplugged modules must add up to it.
    if (element(root, 'cpu', 'numa') !== undefined || element(root, 'maxMemory') !== undefined) return mib;
    memory.attributes.set('unit', 'MiB');
    memory.children = [variable('memoryMiB')];
    const current = element(root, 'currentMemory');
    if (current !== undefined) removeChild(root, current);
    return mib;
  }

  #vcpus(): number {
    const root = this.#root;
    const vcpu = element(root, 'vcpu');
    const count = Number(innerText(vcpu)) || 1;
    const isBound = ['vcpus', 'cputune'].some((name) => element(root, name) !== undefined);
    const hasTopology = ['topology', 'numa'].some((name) => element(root, 'cpu', name) !== undefined);
    if (vcpu !== undefined && !isBound && !hasTopology && !vcpu.attributes.has('current')) vcpu.children = [variable('vcpus')];
    return count;
  }

  #firmware(): { firmware: DomainSpec['firmware']; nvram: string | undefined } {
    const os = element(this.#root, 'os');
    const isUefi = attribute(os, 'firmware') === 'efi' || attribute(element(os, 'loader'), 'type') === 'pflash';
    if (os === undefined || !isUefi) return { firmware: 'bios', nvram: undefined };
    let nvram = element(os, 'nvram');
    if (nvram === undefined) {
      nvram = makeElement('nvram');
      insertAfter(os, nvram, element(os, 'loader') ?? element(os, 'type'));
    }
    const type = attribute(nvram, 'type');
    if (type !== undefined && type !== 'file') this.#refuse(`its NVRAM is of type ${type}, not a file`);
    const path = innerText(nvram) || attribute(element(nvram, 'source'), 'file') || undefined;
    nvram.attributes.delete('type');
    nvram.children = [variable('nvram')];
    return { firmware: 'uefi', nvram: path };
  }
}
