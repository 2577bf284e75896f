import { attribute, element, elements, parseXml } from './xml-tree.js';

/** A network card of a domain. */
export interface Nic {
  mac: string;
  /** QEMU's name for what it is; empty where the XML does not say. */
  model: string;
  /** Whether its cable is plugged in. */
  isUp: boolean;
}

/** @param xml of a domain that libvirt knows: every card has a MAC in it */
export function nicsOf(domain: string, xml: string): Nic[] {
  const devices = element(parseXml(xml, `The XML of ${domain}`), 'devices');
  return elements(devices, 'interface').map((card) => ({
    mac: (attribute(element(card, 'mac'), 'address') ?? '').toLowerCase(),
    model: attribute(element(card, 'model'), 'type') ?? '',
    isUp: attribute(element(card, 'link'), 'state') !== 'down',
  }));
}
