import { imageOf } from '../domain/foreign-domain.js';
import {
  attribute,
  copyElement,
  element,
  elements,
  insertAfter,
  makeElement,
  parseXml,
  printXml,
  removeChild,
  setAttribute,
  type XmlElement,
  type XmlNode,
} from '../domain/xml-tree.js';
import { CowherdError } from '../errors.js';
import type { ImageRef, SwitchedDisk } from './snapshot.js';

/** Changes in a domain's XML for snapshots: only the driver type, source and backingStore of disks. */

/** The disk's element with an overlay as its source and a complete backing chain. */
export function overlayElement(disk: XmlElement, overlay: string, chain: readonly ImageRef[]): XmlElement {
  const changed = copyElement(disk);
  const source = element(changed, 'source');
  const explicit = element(changed, 'backingStore');
  const margin = marginOf(changed);
  const seclabels = elements(source, 'seclabel');
  // An existing backing chain stays unchanged below the new link.
  const tail = explicit !== undefined && isEnded(explicit) ? copyElement(explicit) : undefined;
  const links = tail === undefined ? chain : chain.slice(0, 1);
  const end = tail === undefined ? makeElement('backingStore') : shifted(tail);
  const store = [...links].reverse().reduce((below, { path, format }, position) => {
    const depth = links.length - 1 - position;
    const children = [
      makeElement('format', { type: format }),
      // The original keeps its seclabel; further links had none.
      makeElement('source', { file: path }, depth === 0 ? seclabels.map(copyElement) : []),
      below,
    ];
    return makeElement(
      'backingStore',
      { type: 'file' },
      onLines(children, `${margin}${'  '.repeat(depth + 1)}`, `${margin}${'  '.repeat(depth)}`),
    );
  }, end);
  setDriverType(changed, 'qcow2');
  if (source !== undefined) {
    setAttribute(source, 'file', overlay);
    setAttribute(source, 'index', undefined);
  }
  replaceBackingStore(changed, store);
  return changed;
}

function isEnded(store: XmlElement): boolean {
  const below = element(store, 'backingStore');
  return attribute(store, 'type') === undefined || (below !== undefined && isEnded(below));
}

/**
 * A domain's XML with other images on its disks.
 * @throws DOMAIN_CHANGED if a disk is missing
 */
export function switchDisks(xml: string, switched: readonly Pick<SwitchedDisk, 'target' | 'element'>[]): string {
  const root = parseXml(xml, 'The XML of the domain');
  for (const { target, element: like } of switched) {
    const disk = findDisk(root, target);
    if (disk === undefined) {
      throw new CowherdError('DOMAIN_CHANGED', `The domain no longer has a disk ${target}`, { hint: 'Attach it again with "virsh edit".' });
    }
    putOn(disk, parseXml(like, `The disk ${target}`));
  }
  return printXml(root);
}

function putOn(disk: XmlElement, like: XmlElement): void {
  setDriverType(disk, attribute(element(like, 'driver'), 'type'));
  const [source, wanted] = [element(disk, 'source'), element(like, 'source')];
  if (wanted !== undefined && source !== undefined) disk.children[disk.children.indexOf(source)] = copyElement(wanted);
  else if (wanted !== undefined) insertAfter(disk, copyElement(wanted), element(disk, 'driver'));
  replaceBackingStore(disk, element(like, 'backingStore'));
}

function setDriverType(disk: XmlElement, type: string | undefined): void {
  const driver = element(disk, 'driver');
  if (driver !== undefined) {
    setAttribute(driver, 'type', type);
    // cowherd added the driver element, so it is removed again.
    if (type === undefined && driver.children.length === 0 && [...driver.attributes.keys()].join() === 'name') removeChild(disk, driver);
  } else if (type !== undefined) insertAfter(disk, makeElement('driver', { name: 'qemu', type }), undefined);
}

function replaceBackingStore(disk: XmlElement, store: XmlElement | undefined): void {
  const present = element(disk, 'backingStore');
  if (present !== undefined && store !== undefined) disk.children[disk.children.indexOf(present)] = copyElement(store);
  else if (present !== undefined) removeChild(disk, present);
  else if (store !== undefined) insertAfter(disk, copyElement(store), element(disk, 'source'));
}

/** Which side of a switch a domain is on; `elsewhere` if its disks were changed by others. */
export function sideOf(xml: string, switched: readonly SwitchedDisk[]): 'before' | 'after' | 'elsewhere' {
  const root = parseXml(xml, 'The XML of the domain');
  const isOn = (side: 'from' | 'to'): boolean => switched.every((disk) => isImage(findDisk(root, disk.target), disk[side]));
  return isOn('from') ? 'before' : isOn('to') ? 'after' : 'elsewhere';
}

/** @returns the disks of a domain that differ from the record, for display */
export function strayDisks(xml: string, expected: ReadonlyMap<string, ImageRef>): string[] {
  const root = parseXml(xml, 'The XML of the domain');
  return [...expected].flatMap(([target, image]) => {
    const disk = findDisk(root, target);
    if (disk === undefined) return [`disk ${target} is no longer in its XML; its overlay is ${image.path}`];
    if (isImage(disk, image)) return [];
    const { path, format } = imageOf(disk);
    return [`disk ${target} is ${path || 'without a file'} (${format}), not the overlay ${image.path}`];
  });
}

function isImage(disk: XmlElement | undefined, { path, format }: ImageRef): boolean {
  if (disk === undefined || (attribute(disk, 'type') ?? 'file') !== 'file') return false;
  const seen = imageOf(disk);
  return seen.path === path && seen.format === format;
}

function findDisk(root: XmlElement, target: string): XmlElement | undefined {
  return elements(element(root, 'devices'), 'disk').find((disk) => attribute(element(disk, 'target'), 'dev') === target);
}

/** As text for comparison and display, with secrets masked. */
export function withoutSecrets(xml: string): string {
  const root = parseXml(xml, 'The XML of the domain');
  const visit = (node: XmlElement): void => {
    for (const name of ['passwd', 'password']) if (node.attributes.has(name)) setAttribute(node, name, '(kept)');
    for (const child of elements(node)) visit(child);
  };
  visit(root);
  return printXml(root);
}

/** The line break and indentation before the children of an element; empty if they are on one line. */
function marginOf(parent: XmlElement): string {
  const blanks = parent.children.find((node) => node.kind === 'text' && /^\s*\n\s*$/.test(node.text));
  return blanks?.kind === 'text' ? blanks.text : '';
}

function onLines(children: readonly XmlElement[], margin: string, last: string): XmlNode[] {
  if (!margin.startsWith('\n')) return [...children];
  return [...children.flatMap((child): XmlNode[] => [{ kind: 'text', text: margin }, child]), { kind: 'text', text: last }];
}

/** Indents by two more spaces. */
function shifted(node: XmlElement): XmlElement {
  node.children = node.children.map((child) =>
    child.kind === 'element'
      ? shifted(child)
      : child.kind === 'text' && /^\s*\n\s*$/.test(child.text)
        ? { ...child, text: `${child.text}  ` }
        : child,
  );
  return node;
}
