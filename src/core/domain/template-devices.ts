import { raw, rawElement } from './template-tree.js';
import { attribute, element, elements, insertAfter, makeElement, removeChild, setAttribute, type XmlElement } from './xml-tree.js';

/** Devices of a domain that becomes a template: what only one guest can have is removed or refused. */

/** What a conversion refuses, and what it changes. */
export interface ConversionReport {
  obstacles: string[];
  /** Differences from the domain, and what all members share. */
  notes: string[];
}

export function convertInterfaces(devices: XmlElement, report: ConversionReport): number {
  const interfaces = elements(devices, 'interface');
  for (const [position, nic] of interfaces.entries()) {
    const what = `network interface ${position + 1}`;
    const type = attribute(nic, 'type') ?? '';
    if (['hostdev', 'vhostuser', 'vdpa'].includes(type)) report.obstacles.push(`${what} is of type ${type}: only one guest can have it`);
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
      report.notes.push(`${what}: its port forwardings are omitted, since only one guest can have a port`);
    }
    for (const parameters of elements(nic, 'virtualport').flatMap((port) => elements(port, 'parameters')))
      parameters.attributes.delete('interfaceid');
  }
  return Math.max(1, interfaces.length);
}

/**
 * The port of this host that --forward-ssh forwards: each member gets its own. The card keeps its MAC address: with user networking,
 * each guest is alone on its network, and QEMU forwards only to the address that it gave to the first MAC.
 * @returns whether there is one
 */
export function convertForwardedPort(root: XmlElement): boolean {
  const args = elements(root).filter(({ name }) => name.endsWith(':commandline'));
  const forward = args.flatMap((own) => elements(own)).find((arg) => forwardedPort.test(attribute(arg, 'value') ?? ''));
  forward?.attributes.set('value', (attribute(forward, 'value') ?? '').replace(forwardedPort, '$1{{sshPort}}$2'));
  return forward !== undefined;
}

/** As the built-in template writes it. */
const forwardedPort = /^(user,id=cowherd0,hostfwd=tcp:127\.0\.0\.1:)\d+(-:22)$/;

/** Everything that listens or logs gets a path per member. */
export function convertPorts(devices: XmlElement, report: ConversionReport): void {
  const [first] = elements(devices, 'serial');
  for (const name of ['serial', 'console', 'parallel']) {
    for (const port of elements(devices, name)) {
      const isAlsoFirst = name === 'console' && (attribute(element(port, 'target'), 'type') ?? 'serial') === 'serial';
      const type = attribute(port, 'type');
      if (type !== 'pty' && type !== 'spicevmc' && type !== 'null' && !isAlsoFirst) {
        report.notes.push(`a ${name} port changed from ${type} to pty`);
      }
      if (type !== 'null' && type !== 'spicevmc') setAttribute(port, 'type', 'pty');
      for (const part of ['source', 'log', 'protocol']) for (const old of elements(port, part)) removeChild(port, old);
      port.attributes.delete('tty');
    }
  }
  if (first === undefined) report.notes.push('it has no serial port: there is no console to log or to wait for');
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
export function reportSingleGuestDevices(devices: XmlElement, report: ConversionReport): void {
  for (const device of elements(devices, 'hostdev'))
    report.obstacles.push(`it has a device of the host (${attribute(device, 'type')}): only one guest can have it`);
  if (element(devices, 'lease') !== undefined) report.obstacles.push('it has a lease: only one guest can hold it');
  for (const module of elements(devices, 'memory'))
    if (attribute(module, 'model') === 'nvdimm') report.obstacles.push('it has an NVDIMM, whose file only one guest can write to');
  for (const shared of elements(devices, 'filesystem'))
    report.notes.push(`every member shares the directory ${attribute(element(shared, 'source'), 'dir') ?? ''} with the host`);
}

export function convertTpm(devices: XmlElement, report: ConversionReport): boolean {
  const backends = elements(devices, 'tpm').flatMap((tpm) => element(tpm, 'backend') ?? []);
  const types = backends.map((backend) => attribute(backend, 'type'));
  if (types.includes('passthrough')) report.obstacles.push("it has the host's TPM: only one guest can have it");
  if (types.includes('external')) report.obstacles.push('its TPM is a process outside libvirt: only one guest can have it');
  // Without a path, libvirt gives each domain a directory of its own for the state.
  for (const backend of backends) for (const source of elements(backend, 'source')) removeChild(backend, source);
  return types.includes('emulator');
}
