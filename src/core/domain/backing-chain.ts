import type { BaseImage } from '../image/base.js';
import { backingXml, printedAttribute } from './domain-xml.js';
import { attribute, element, elements, insertAfter, parseXml, printXml } from './xml-tree.js';

/** Backing chains in a domain's XML. QEMU uses these, not the header of the disk's file. */

/** Whether the XML gives the disk with that source another backing file than the base image, or none. */
export function hasLostChain(xml: string, path: string, base: Pick<BaseImage, 'path'>): boolean {
  const part = diskParts(xml).find(([own]) => own.includes(`<source file='${printedAttribute(path)}'`));
  if (part === undefined) return false;
  // The first link of the chain.
  const [, first = ''] = part[1].split('<backingStore', 2);
  return !first.includes(`<source file='${printedAttribute(base.path)}'`);
}

/** The domain with the backing chain of that disk restored. Nothing else changes. */
export function withChain(xml: string, path: string, base: Pick<BaseImage, 'path' | 'format' | 'backing'>): string {
  const root = parseXml(xml, 'The XML of the domain');
  const disks = elements(element(root, 'devices'), 'disk');
  const disk = disks.find((candidate) => attribute(element(candidate, 'source'), 'file') === path);
  if (disk === undefined) return xml;
  const chain = parseXml(backingXml(base), 'The backing chain');
  const present = element(disk, 'backingStore');
  if (present === undefined) insertAfter(disk, chain, element(disk, 'source'));
  else disk.children[disk.children.indexOf(present)] = chain;
  return printXml(root);
}

/** The target of the disk with a file in its backing chain, e.g. `vda`; undefined if none has it. */
export function targetAbove(xml: string, path: string): string | undefined {
  const below = `<source file='${printedAttribute(path)}'`;
  const part = diskParts(xml).find(([own, chain]) => !own.includes(below) && chain.includes(below));
  return part === undefined ? undefined : /<target dev='([\w-]+)'/.exec(part.join(''))?.[1];
}

/** Each disk as libvirt prints it, split at its backing chain. */
function diskParts(xml: string): Array<[own: string, chain: string]> {
  return xml
    .split('<disk ')
    .slice(1)
    .map((text) => {
      const disk = text.split('</disk>', 1)[0] ?? '';
      const at = disk.indexOf('<backingStore');
      return at < 0 ? [disk, ''] : [disk.slice(0, at), disk.slice(at)];
    });
}
