import { attribute, element, elements, parseXml } from './xml-tree.js';

/** A network card of a domain. */
export interface Nic {
  mac: string;
  /** QEMU's model name; empty if the XML has none. */
  model: string;
  /** Whether its link is up. */
  isUp: boolean;
}

/** @param xml of a domain in libvirt, so that every card has a MAC */
export function nicsOf(domain: string, xml: string): Nic[] {
  const devices = element(parseXml(xml, `The XML of ${domain}`), 'devices');
  return elements(devices, 'interface').map((card) => ({
    mac: (attribute(element(card, 'mac'), 'address') ?? '').toLowerCase(),
    model: attribute(element(card, 'model'), 'type') ?? '',
    isUp: attribute(element(card, 'link'), 'state') !== 'down',
  }));
}
