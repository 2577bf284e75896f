import { CowherdError } from '../errors.js';
import { escapeXml } from '../quoting.js';
import type { DiskSpec, DomainSpec } from '../spec/spec.js';
import { freeTarget, kibOf, networkOf, seedDisk, splitAtWord } from './domain-conversion.js';
import { metadataNamespace } from './domain-xml.js';
import { hidden, hideBraces, putAfter, raw, rawElement, variable } from './template-tree.js';
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

export interface SourceDisk {
  /** Its target, e.g. `vda`. */
  target: string;
  path: string;
  format: 'qcow2' | 'raw';
  bus: DiskSpec['bus'];
}

export interface DomainAsTemplate {
  template: string;
  /** Writable disks; the first one becomes the members' first disk. */
  disks: SourceDisk[];
  spec: Pick<DomainSpec, 'memoryMiB' | 'vcpus' | 'virtType' | 'network' | 'firmware' | 'tpm' | 'nics'>;
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
  readonly #notes: string[] = [];
  readonly #obstacles: string[] = [];

  constructor(domain: string, root: XmlElement) {
    this.#domain = domain;
    this.#root = root;
  }

  run(): DomainAsTemplate {
    const root = this.#root;
    const virtType = attribute(root, 'type');
    if (virtType !== 'kvm' && virtType !== 'qemu') this.#refuse(`its type is ${virtType}, and only kvm and qemu are supported`);
    const devices = element(root, 'devices') ?? makeElement('devices');
    // Its text must not be read as a variable.
    hideBraces(root);
    const oldUuid = innerText(element(root, 'uuid'));
    const memoryMiB = this.#memory();
    const vcpus = this.#vcpus();
    const { firmware, nvram } = this.#firmware();
    const disks = this.#disks(devices);
    const network = networkOf(elements(devices, 'interface')[0]);
    const nics = this.#interfaces(devices);
    this.#ports(devices);
    this.#singular(devices);
    const tpm = this.#tpm(devices);
    this.#identity(oldUuid);
    if (elements(root).some((child) => child.name.endsWith(':commandline')))
      this.#notes.push('its own QEMU arguments are the same for every member');
    if (this.#obstacles.length > 0) {
      throw new CowherdError('NOT_SUPPORTED', `Cannot create a fleet from domain ${this.#domain} as it is`, {
        details: this.#obstacles,
        hint: 'Remove that from it (virsh edit), or write your own template: cowherd template eject.',
      });
    }
    return {
      template: printXml(root),
      disks,
      spec: { memoryMiB, vcpus, virtType: virtType as 'kvm' | 'qemu', network, firmware, tpm, nics },
      nvram,
      notes: this.#notes,
    };
  }

  #refuse(obstacle: string): void {
    this.#obstacles.push(obstacle);
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

  #disks(devices: XmlElement): SourceDisk[] {
    const disks: SourceDisk[] = [];
    const all = elements(devices, 'disk');
    for (const disk of all) {
      const target = attribute(element(disk, 'target'), 'dev') ?? 'a disk';
      const device = attribute(disk, 'device') ?? 'disk';
      if (element(disk, 'readonly') !== undefined || device === 'cdrom') continue;
      if (device === 'floppy') {
        const source = element(disk, 'source');
        if (source !== undefined) {
          removeChild(disk, source);
          this.#notes.push(`${target}: the floppy is omitted, since only one guest can write to it`);
        }
        continue;
      }
      const source = this.#writable(disk, target);
      if (source === undefined) continue;
      this.#putOverlay(disk, disks.length);
      disks.push(source);
    }
    const last = all.at(-1);
    if (disks.length === 0) this.#refuse('it has no writable disk');
    if (last !== undefined) putAfter(devices, last, seedDisk(freeTarget(all)));
    return disks;
  }

  #writable(disk: XmlElement, target: string): SourceDisk | undefined {
    const source = element(disk, 'source');
    const type = attribute(disk, 'type');
    const path = attribute(source, 'file');
    const format = attribute(element(disk, 'driver'), 'type') ?? 'raw';
    const bus = attribute(element(disk, 'target'), 'bus') ?? 'virtio';
    if (type !== 'file' || path === undefined) {
      this.#refuse(`${target} is of type ${type}, not a file: copy it to one with "qemu-img convert"`);
    } else if (format !== 'qcow2' && format !== 'raw') {
      this.#refuse(`${target} is in the format ${format}, not qcow2 or raw`);
    } else if (element(disk, 'shareable') !== undefined) {
      this.#refuse(`${target} is shared with other domains`);
    } else if (element(disk, 'encryption') !== undefined || element(source, 'encryption') !== undefined) {
      this.#refuse(`${target} is encrypted`);
    } else if (element(source, 'slices') !== undefined) {
      this.#refuse(`${target} is a slice of its file`);
    } else if (element(disk, 'transient') !== undefined) {
      this.#refuse(`${target} is transient: libvirt makes an overlay of its own for it`);
    } else {
      // For additional disks this is only recorded; the template keeps their buses.
      return { target, path, format, bus: bus === 'scsi' || bus === 'sata' ? bus : 'virtio' };
    }
    return undefined;
  }

  #putOverlay(disk: XmlElement, position: number): void {
    const [path, backing] = position === 0 ? ['overlay', 'backing'] : [`disks.[${position - 1}].path`, `disks.[${position - 1}].backing`];
    const driver = element(disk, 'driver') ?? makeElement('driver', { name: 'qemu' });
    if (!disk.children.includes(driver)) insertAfter(disk, driver, undefined);
    setAttribute(driver, 'type', 'qcow2');
    for (const name of ['backingStore', 'mirror']) for (const old of elements(disk, name)) removeChild(disk, old);
    const source = element(disk, 'source') ?? makeElement('source');
    source.attributes.delete('index');
    source.attributes.delete('startupPolicy');
    source.attributes.set('file', `{{${path}}}`);
    putAfter(disk, source, `{{{${backing}}}}`);
  }

  #interfaces(devices: XmlElement): number {
    const interfaces = elements(devices, 'interface');
    for (const [position, nic] of interfaces.entries()) {
      const what = `network interface ${position + 1}`;
      const type = attribute(nic, 'type') ?? '';
      if (['hostdev', 'vhostuser', 'vdpa'].includes(type)) this.#refuse(`${what} is of type ${type}: only one guest can have it`);
      let mac = element(nic, 'mac');
      if (mac === undefined) {
        mac = makeElement('mac');
        insertAfter(nic, mac, undefined);
      }
      mac.attributes.set('address', `{{macs.[${position}]}}`);
      // The name of the host's interface is unique.
      for (const target of elements(nic, 'target')) removeChild(nic, target);
      for (const forward of elements(nic, 'portForward')) {
        removeChild(nic, forward);
        this.#notes.push(`${what}: its port forwardings are omitted, since only one guest can have a port`);
      }
      for (const parameters of elements(nic, 'virtualport').flatMap((port) => elements(port, 'parameters')))
        parameters.attributes.delete('interfaceid');
    }
    return Math.max(1, interfaces.length);
  }

  /** Everything that listens or logs gets a path per member. */
  #ports(devices: XmlElement): void {
    const [first] = elements(devices, 'serial');
    for (const name of ['serial', 'console', 'parallel']) {
      for (const port of elements(devices, name)) {
        const isAlsoFirst = name === 'console' && (attribute(element(port, 'target'), 'type') ?? 'serial') === 'serial';
        const type = attribute(port, 'type');
        if (type !== 'pty' && type !== 'spicevmc' && type !== 'null' && !isAlsoFirst) {
          this.#notes.push(`a ${name} port changed from ${type} to pty`);
        }
        if (type !== 'null' && type !== 'spicevmc') setAttribute(port, 'type', 'pty');
        for (const part of ['source', 'log', 'protocol']) for (const old of elements(port, part)) removeChild(port, old);
        port.attributes.delete('tty');
      }
    }
    if (first === undefined) this.#notes.push('it has no serial port: there is no console to log or to wait for');
    else insertAfter(first, rawElement('log', { file: '{{consoleLog}}', append: 'on' }), undefined);

    for (const channel of elements(devices, 'channel')) {
      if (attribute(channel, 'type') !== 'unix') continue;
      for (const source of elements(channel, 'source')) removeChild(channel, source);
      const isAgent = attribute(element(channel, 'target'), 'name') === 'org.qemu.guest_agent.0';
      if (isAgent) channel.children.unshift(raw('{{#if agentSocket}}<source mode="bind" path="{{agentSocket}}"/>{{/if}}'));
    }
    for (const graphics of elements(devices, 'graphics')) {
      for (const name of ['port', 'tlsPort', 'websocket', 'socket']) graphics.attributes.delete(name);
      for (const listen of elements(graphics, 'listen')) if (attribute(listen, 'type') === 'socket') listen.attributes.delete('socket');
      setAttribute(graphics, 'autoport', 'yes');
    }
    for (const cid of elements(devices, 'vsock').flatMap((vsock) => elements(vsock, 'cid'))) {
      setAttribute(cid, 'auto', 'yes');
      cid.attributes.delete('address');
    }
  }

  /** Devices that only one guest can have. */
  #singular(devices: XmlElement): void {
    for (const device of elements(devices, 'hostdev'))
      this.#refuse(`it has a device of the host (${attribute(device, 'type')}): only one guest can have it`);
    if (element(devices, 'lease') !== undefined) this.#refuse('it has a lease: only one guest can hold it');
    for (const module of elements(devices, 'memory'))
      if (attribute(module, 'model') === 'nvdimm') this.#refuse('it has an NVDIMM, whose file only one guest can write to');
    for (const shared of elements(devices, 'filesystem'))
      this.#notes.push(`every member shares the directory ${attribute(element(shared, 'source'), 'dir') ?? ''} with the host`);
  }

  #tpm(devices: XmlElement): boolean {
    const types = elements(devices, 'tpm').map((tpm) => attribute(element(tpm, 'backend'), 'type'));
    if (types.includes('passthrough')) this.#refuse("it has the host's TPM: only one guest can have it");
    return types.includes('emulator');
  }
}
