import type { MemberIdentity } from '../fleet/identity.js';
import { shellWord } from '../quoting.js';
import {
  attribute,
  element,
  elements,
  innerText,
  insertAfter,
  makeElement,
  parseXml,
  printXml,
  setText,
  type XmlElement,
} from './xml-tree.js';

/** A device that a user added to a member's domain. It is in no template, so redefining the domain would remove it. */
export interface Addition {
  /** E.g. `disk vdb (/images/data.qcow2)`. */
  what: string;
  /** The command that detaches it; undefined if virsh has none. */
  detach?: string;
}

/** Kinds of devices that libvirt never adds by itself, and that have no identifying attribute. */
const countedKinds = ['hostdev', 'filesystem', 'redirdev', 'smartcard', 'shmem', 'sound', 'tpm', 'rng', 'vsock', 'graphics', 'crypto'];

/**
 * @param xml the member's domain as libvirt prints it
 * @param rendered the current output of its template, and the one before a change
 */
export function additionsIn(xml: string, member: MemberIdentity, fleet: string, rendered: readonly string[]): Addition[] {
  const devices = devicesOf(xml);
  const known = rendered.map(devicesOf);
  return [
    ...elements(devices, 'disk').flatMap((disk) => addedDisk(disk, member, fleet, known)),
    ...addedInterfaces(devices, member, known),
    ...countedKinds.flatMap((kind) => {
      const most = Math.max(...known.map((other) => elements(other, kind).length));
      return elements(devices, kind)
        .slice(most)
        .map(() => ({ what: `a <${kind}>` }));
    }),
  ];
}

function devicesOf(xml: string): XmlElement | undefined {
  return element(parseXml(xml, 'The XML of the domain'), 'devices');
}

function addedDisk(disk: XmlElement, { name }: MemberIdentity, fleet: string, known: ReadonlyArray<XmlElement | undefined>): Addition[] {
  const source = sourceOf(disk);
  const target = attribute(element(disk, 'target'), 'dev') ?? '';
  // An empty drive.
  if (source === '') return [];
  if (known.some((devices) => elements(devices, 'disk').some((other) => sourceOf(other) === source))) return [];
  // The member's own disk, from an earlier spec or the former location of the store.
  const own = [`/fleets/${fleet}/overlays/${name}`, `/fleets/${fleet}/seeds/${name}.iso`].find((part) => source.includes(part));
  if (own !== undefined && /\.(qcow2|iso)$/.test(source)) return [];
  return [{ what: `disk ${target} (${source})`, detach: `virsh detach-disk ${name} ${shellWord(target)} --config` }];
}

function sourceOf(disk: XmlElement): string {
  const source = element(disk, 'source');
  const words = ['file', 'dev', 'dir', 'name', 'volume'].map((key) => attribute(source, key)).filter((word) => word !== undefined);
  return words.join(' ');
}

function addedInterfaces(
  devices: XmlElement | undefined,
  member: MemberIdentity,
  known: ReadonlyArray<XmlElement | undefined>,
): Addition[] {
  const macOf = (card: XmlElement): string => (attribute(element(card, 'mac'), 'address') ?? '').toLowerCase();
  const rendered = known.map((other) => elements(other, 'interface'));
  const macs = new Set([...member.macs, ...rendered.flat().map(macOf)].map((mac) => mac.toLowerCase()));
  // A template may let libvirt choose an address.
  const nameless = Math.max(0, ...rendered.map((cards) => cards.filter((card) => macOf(card) === '').length));
  return elements(devices, 'interface')
    .filter((card) => !macs.has(macOf(card)))
    .slice(nameless)
    .map((card) => {
      const [mac, type] = [macOf(card), attribute(card, 'type') ?? 'network'];
      return { what: `network card ${mac}`, detach: `virsh detach-interface ${member.name} ${shellWord(type)} --mac ${mac} --config` };
    });
}

/** The definition with the title and description that a user gave the domain; unchanged if there are none. */
export function withTexts(definition: string, xml: string, rendered: readonly string[]): string {
  if (!/<(title|description)>/.test(xml)) return definition;
  const [current, ...others] = [xml, ...rendered].map((text) => parseXml(text, 'The XML of the domain'));
  const root = parseXml(definition, 'The definition');
  let isChanged = false;
  for (const kind of ['description', 'title']) {
    const text = innerText(element(current, kind));
    if (text === '' || others.some((other) => innerText(element(other, kind)) === text)) continue;
    const present = element(root, kind);
    const added = present ?? makeElement(kind);
    setText(added, text);
    if (present === undefined) insertAfter(root, added, element(root, 'genid') ?? element(root, 'uuid') ?? element(root, 'name'));
    isChanged = true;
  }
  return isChanged ? printXml(root) : definition;
}

export function additionsHint(name: string, additions: readonly Addition[]): string {
  const commands = additions.flatMap(({ detach }) => detach ?? []);
  const byHand = additions.some(({ detach }) => detach === undefined) ? [`virsh edit ${name}`] : [];
  return `Detach it, run the command again, and attach it again afterwards: ${[...commands, ...byHand].join('; ')}. Or put it into the fleet's template: cowherd template eject`;
}
