import { CowherdError } from './errors.js';
import type { ImageRef, SwitchedDisk } from './snapshot.js';
import {
  attribute,
  copyElement,
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
  type XmlNode,
} from './xml-tree.js';

/** What a snapshot reads in a domain's XML and changes in it: of its disks the driver type, source and backingStore, nothing else. */

export interface ForeignDisk {
  target: string;
  image: ImageRef;
  /** Links of the chain that the XML spells out below the image. */
  spelled: ImageRef[];
  /** The XML says where the chain ends. */
  isEnded: boolean;
  element: XmlElement;
}

export interface JudgedDisks {
  /** Those that a snapshot covers: writable files. */
  disks: ForeignDisk[];
  /** Why no snapshot can be taken, one line each. */
  problems: string[];
  /** What a snapshot does not cover. */
  notes: string[];
}

const ownKinds = ['disk', 'lun'];

/** Which disks of a domain a snapshot covers, and what stands in the way of one. */
export function judgeDisks(root: XmlElement): JudgedDisks {
  const devices = element(root, 'devices');
  const disks: ForeignDisk[] = [];
  const problems: string[] = [];
  for (const disk of elements(devices, 'disk')) {
    // CD-ROMs and floppies are not the guest's to keep things on.
    if (!ownKinds.includes(attribute(disk, 'device') ?? 'disk') || element(disk, 'readonly') !== undefined) continue;
    const target = attribute(element(disk, 'target'), 'dev') ?? '';
    const found = problemsOf(disk, target);
    if (found.length > 0) problems.push(...found.map((problem) => `disk ${target || '(without a target)'} ${problem}`));
    else disks.push(readDisk(disk, target));
  }
  if (disks.length === 0 && problems.length === 0) problems.push('it has no writable disk');
  const paths = disks.map(({ image }) => image.path);
  for (const path of new Set(paths.filter((path, position) => paths.indexOf(path) !== position)))
    problems.push(`${path} is attached twice`);
  return { disks, problems, notes: uncovered(devices) };
}

function problemsOf(disk: XmlElement, target: string): string[] {
  const source = element(disk, 'source');
  const type = attribute(disk, 'type') ?? 'file';
  const format = attribute(element(disk, 'driver'), 'type') ?? 'raw';
  const problems: string[] = [];
  if (!/^[A-Za-z][A-Za-z0-9_]{1,31}$/.test(target)) problems.push('has a target that is no plain word');
  if (attribute(disk, 'device') === 'lun') problems.push('is a SCSI disk passed through (device="lun")');
  if (type !== 'file')
    problems.push(
      `is of type "${type}": snapshots are of files${type === 'volume' ? ' (name the file itself: virsh vol-path gives it)' : ''}`,
    );
  else if ((attribute(source, 'file') ?? '') === '') problems.push('has no source');
  else if (!(attribute(source, 'file') ?? '').startsWith('/')) problems.push('has a source that is not an absolute path');
  if (!['qcow2', 'raw'].includes(format)) problems.push(`is in the format ${format}, not qcow2 or raw`);
  if (element(disk, 'shareable') !== undefined) problems.push('is <shareable>: other domains may write to it at any time');
  if (element(disk, 'transient') !== undefined) problems.push('is <transient>: libvirt itself forgets what is written to it');
  if (element(disk, 'encryption') !== undefined) problems.push('is encrypted');
  for (const part of type === 'file' ? elements(source) : []) {
    if (part.name === 'encryption') problems.push('is encrypted');
    else if (part.name !== 'seclabel') problems.push(`has <${part.name}> in its source, which an overlay cannot take over`);
  }
  if (type === 'file') problems.push(...spelledProblems(disk));
  return problems;
}

function spelledProblems(disk: XmlElement): string[] {
  const problems: string[] = [];
  for (let link = element(disk, 'backingStore'); link !== undefined; link = element(link, 'backingStore')) {
    const type = attribute(link, 'type');
    if (type === undefined) continue;
    if (type !== 'file') problems.push(`stands on a backing file of type "${type}"`);
    const format = attribute(element(link, 'format'), 'type');
    if (format !== 'qcow2' && format !== 'raw') problems.push(`stands on a backing file in the format ${format ?? 'unknown'}`);
  }
  return problems;
}

function readDisk(disk: XmlElement, target: string): ForeignDisk {
  const spelled: ImageRef[] = [];
  let link = element(disk, 'backingStore');
  while (link !== undefined && attribute(link, 'type') !== undefined) {
    spelled.push({ path: attribute(element(link, 'source'), 'file') ?? '', format: formatOf(attribute(element(link, 'format'), 'type')) });
    link = element(link, 'backingStore');
  }
  return { target, image: imageOf(disk), spelled, isEnded: link !== undefined, element: disk };
}

/** libvirt takes a disk without a driver type as raw. */
function imageOf(disk: XmlElement): ImageRef {
  return { path: attribute(element(disk, 'source'), 'file') ?? '', format: formatOf(attribute(element(disk, 'driver'), 'type')) };
}

function formatOf(text: string | undefined): ImageRef['format'] {
  return text === 'qcow2' ? 'qcow2' : 'raw';
}

function uncovered(devices: XmlElement | undefined): string[] {
  const notes: string[] = [];
  if (elements(devices, 'hostdev').length > 0)
    notes.push('devices of the host are passed through: what the guest writes to them is not covered');
  if (elements(devices, 'filesystem').length > 0)
    notes.push('directories of the host are shared: what the guest writes to them is not covered');
  if (elements(devices, 'tpm').some((tpm) => attribute(element(tpm, 'backend'), 'type') === 'emulator'))
    notes.push("the TPM's state is not covered: a guest that ties its disk to it may ask for the recovery key after a rollback");
  return notes;
}

/** The disk's element with an overlay as its source, its whole chain spelled out to the end. */
export function overlayElement(disk: XmlElement, overlay: string, chain: readonly ImageRef[]): XmlElement {
  const changed = copyElement(disk);
  const source = element(changed, 'source');
  const explicit = element(changed, 'backingStore');
  const margin = marginOf(changed);
  const seclabels = elements(source, 'seclabel');
  // What the person wrote about the chain stays as it is, below one more link.
  const tail = explicit !== undefined && isEnded(explicit) ? copyElement(explicit) : undefined;
  const links = tail === undefined ? chain : chain.slice(0, 1);
  const end = tail === undefined ? makeElement('backingStore') : shifted(tail);
  const store = [...links].reverse().reduce((below, { path, format }, position) => {
    const depth = links.length - 1 - position;
    const children = [
      makeElement('format', { type: format }),
      // The label of the original goes with it; further links had none of their own.
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
 * @throws DOMAIN_CHANGED where a disk is not there any more
 */
export function switchDisks(xml: string, switched: readonly Pick<SwitchedDisk, 'target' | 'element'>[]): string {
  const root = parseXml(xml, 'The XML of the domain');
  for (const { target, element: like } of switched) {
    const disk = findDisk(root, target);
    if (disk === undefined) {
      throw new CowherdError('DOMAIN_CHANGED', `The domain has no disk ${target} any more`, { hint: 'Attach it again with "virsh edit".' });
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
    // Ours: where there was none, there is none again.
    if (type === undefined && driver.children.length === 0 && [...driver.attributes.keys()].join() === 'name') removeChild(disk, driver);
  } else if (type !== undefined) insertAfter(disk, makeElement('driver', { name: 'qemu', type }), undefined);
}

function replaceBackingStore(disk: XmlElement, store: XmlElement | undefined): void {
  const present = element(disk, 'backingStore');
  if (present !== undefined && store !== undefined) disk.children[disk.children.indexOf(present)] = copyElement(store);
  else if (present !== undefined) removeChild(disk, present);
  else if (store !== undefined) insertAfter(disk, copyElement(store), element(disk, 'source'));
}

/** Where a domain stands between the two sides of a switch; `elsewhere` where somebody else has changed its disks. */
export function sideOf(xml: string, switched: readonly SwitchedDisk[]): 'before' | 'after' | 'elsewhere' {
  const root = parseXml(xml, 'The XML of the domain');
  const isOn = (side: 'from' | 'to'): boolean => switched.every((disk) => isImage(findDisk(root, disk.target), disk[side]));
  return isOn('from') ? 'before' : isOn('to') ? 'after' : 'elsewhere';
}

/** @returns in words, where a domain's disks are not what they should be; empty where all are */
export function strayDisks(xml: string, expected: ReadonlyMap<string, ImageRef>): string[] {
  const root = parseXml(xml, 'The XML of the domain');
  return [...expected].flatMap(([target, image]) => {
    const disk = findDisk(root, target);
    if (disk === undefined) return [`disk ${target} is not in its XML any more; its overlay is ${image.path}`];
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

/** The file of the firmware's variables; a problem where they are kept in something else. */
export function nvramOf(root: XmlElement): { path?: string; problem?: string } {
  const nvram = element(root, 'os', 'nvram');
  if (nvram === undefined) return {};
  const source = element(nvram, 'source');
  const type = attribute(nvram, 'type') ?? 'file';
  if (type !== 'file') return { problem: `its NVRAM is of type "${type}", not a file` };
  const path = source === undefined ? innerText(nvram) : (attribute(source, 'file') ?? '');
  return path === '' ? {} : { path };
}

/** Every image that a domain's XML names: of all its disks, of whatever type, with the chains that it spells out. */
export function imagesNamedIn(xml: string, what: string): { files: string[]; heads: Array<{ path: string; target: string }> } {
  const files: string[] = [];
  const heads: Array<{ path: string; target: string }> = [];
  const visit = (node: XmlElement, isHead: boolean): void => {
    const source = element(node, 'source');
    const path = attribute(source, 'file') ?? attribute(source, 'dev');
    if (path !== undefined) {
      files.push(path);
      if (isHead) heads.push({ path, target: attribute(element(node, 'target'), 'dev') ?? '' });
    }
    for (const name of ['backingStore', 'mirror']) for (const below of elements(node, name)) visit(below, false);
    for (const store of elements(source, 'dataStore')) visit(store, false);
  };
  for (const disk of elements(element(parseXml(xml, what), 'devices'), 'disk')) visit(disk, true);
  return { files, heads };
}

/** As text to be compared and shown: what libvirt keeps secret is left out. */
export function withoutSecrets(xml: string): string {
  const root = parseXml(xml, 'The XML of the domain');
  const visit = (node: XmlElement): void => {
    for (const name of ['passwd', 'password']) if (node.attributes.has(name)) setAttribute(node, name, '(kept)');
    for (const child of elements(node)) visit(child);
  };
  visit(root);
  return printXml(root);
}

/** The line break and the blanks that the children of an element begin with; nothing where they stand on one line. */
function marginOf(parent: XmlElement): string {
  const blanks = parent.children.find((node) => node.kind === 'text' && /^\s*\n\s*$/.test(node.text));
  return blanks?.kind === 'text' ? blanks.text : '';
}

function onLines(children: readonly XmlElement[], margin: string, last: string): XmlNode[] {
  if (!margin.startsWith('\n')) return [...children];
  return [...children.flatMap((child): XmlNode[] => [{ kind: 'text', text: margin }, child]), { kind: 'text', text: last }];
}

/** Two blanks further to the right. */
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
