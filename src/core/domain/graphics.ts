import { isLoopback } from '../host/loopback.js';
import { attribute, element, elements, parseXml, type XmlElement } from './xml-tree.js';

/** Screens and consoles in the XML of a domain. */

export interface DomainScreens {
  hasConsole: boolean;
  /** other: a protocol that needs a program, such as SPICE. */
  graphics: 'vnc' | 'other' | null;
}

export type VncAddress = { kind: 'socket'; path: string } | { kind: 'tcp'; host: string; port: number };

export function screensOf(xml: string): DomainScreens {
  const devices = devicesOf(xml);
  const graphics = elements(devices, 'graphics').map((one) => attribute(one, 'type'));
  return {
    hasConsole: elements(devices, 'console').length > 0 || elements(devices, 'serial').length > 0,
    graphics: graphics.includes('vnc') ? 'vnc' : graphics.length > 0 ? 'other' : null,
  };
}

/** Whether the guest's agent has opened its channel. @param xml the live XML of a running domain */
export function hasAgentConnected(xml: string): boolean {
  return elements(devicesOf(xml), 'channel')
    .map((channel) => element(channel, 'target'))
    .some((target) => attribute(target, 'name') === 'org.qemu.guest_agent.0' && attribute(target, 'state') === 'connected');
}

/**
 * Where the VNC server of a running domain listens on this host. @param xml the live XML
 * @returns undefined if it has none; `elsewhere` if others can reach it, so that it is not this host's alone
 */
export function vncAddress(xml: string): VncAddress | 'elsewhere' | undefined {
  const graphics = elements(devicesOf(xml), 'graphics').find((one) => attribute(one, 'type') === 'vnc');
  if (graphics === undefined) return undefined;
  const path = attribute(graphics, 'socket') ?? elements(graphics, 'listen').map((one) => attribute(one, 'socket'))[0];
  if (path?.startsWith('/') === true) return { kind: 'socket', path };
  const port = Number(attribute(graphics, 'port') ?? '');
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  const host = attribute(graphics, 'listen') ?? elements(graphics, 'listen').map((one) => attribute(one, 'address'))[0] ?? '127.0.0.1';
  return isLoopback(host) ? { kind: 'tcp', host, port } : 'elsewhere';
}

function devicesOf(xml: string): XmlElement | undefined {
  return element(parseXml(xml, 'The XML of the domain'), 'devices');
}
