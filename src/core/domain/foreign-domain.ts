import type { ImageRef } from '../snapshot/snapshot.js';
import { attribute, decodeEntities, element, elements, innerText, parseXml, type XmlElement } from './xml-tree.js';

/** Reads the XML of a domain that cowherd did not create, for snapshots: its disks, its NVRAM, the images that it names. */

export interface ForeignDisk {
  target: string;
  image: ImageRef;
  /** Backing chain below the image, as far as the XML contains it. */
  spelled: ImageRef[];
  /** Whether the XML terminates the chain. */
  isEnded: boolean;
  element: XmlElement;
}

export interface JudgedDisks {
  /** Disks that a snapshot covers: writable files. */
  disks: ForeignDisk[];
  /** Reasons against a snapshot, one line each. */
  problems: string[];
  /** What a snapshot does not cover, one line each. */
  notes: string[];
}

const ownKinds = ['disk', 'lun'];

/** Which disks of a domain a snapshot covers, and what prevents one. */
export function judgeDisks(root: XmlElement): JudgedDisks {
  const devices = element(root, 'devices');
  const disks: ForeignDisk[] = [];
  const problems: string[] = [];
  for (const disk of elements(devices, 'disk')) {
    // CD-ROMs and floppies do not hold the guest's data.
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
  if (!/^[A-Za-z][A-Za-z0-9_]{1,31}$/.test(target)) problems.push('has a target that is not a plain word');
  if (attribute(disk, 'device') === 'lun') problems.push('is a SCSI disk passed through (device="lun")');
  if (type !== 'file')
    problems.push(
      `is of type "${type}": snapshots support files only${type === 'volume' ? ' (name the file itself: virsh vol-path prints it)' : ''}`,
    );
  else if ((attribute(source, 'file') ?? '') === '') problems.push('has no source');
  else if (!(attribute(source, 'file') ?? '').startsWith('/')) problems.push('has a source that is not an absolute path');
  if (!['qcow2', 'raw'].includes(format)) problems.push(`is in the format ${format}, not qcow2 or raw`);
  if (element(disk, 'shareable') !== undefined) problems.push('is <shareable>: other domains may write to it at any time');
  if (element(disk, 'transient') !== undefined) problems.push('is <transient>: libvirt discards what is written to it');
  if (element(disk, 'encryption') !== undefined) problems.push('is encrypted');
  for (const part of type === 'file' ? elements(source) : []) {
    if (part.name === 'encryption') problems.push('is encrypted');
    else if (part.name !== 'seclabel') problems.push(`has <${part.name}> in its source, which an overlay cannot have`);
  }
  if (type === 'file') problems.push(...spelledProblems(disk));
  return problems;
}

function spelledProblems(disk: XmlElement): string[] {
  const problems: string[] = [];
  for (let link = element(disk, 'backingStore'); link !== undefined; link = element(link, 'backingStore')) {
    const type = attribute(link, 'type');
    if (type === undefined) continue;
    if (type !== 'file') problems.push(`has a backing file of type "${type}"`);
    const format = attribute(element(link, 'format'), 'type');
    if (format !== 'qcow2' && format !== 'raw') problems.push(`has a backing file in the format ${format ?? 'unknown'}`);
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

/** libvirt treats a disk without a driver type as raw. */
export function imageOf(disk: XmlElement): ImageRef {
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

/**
 * The file of the firmware's variables, or a problem if they are not in a file.
 * @param ownPath libvirt's default path, which with firmware="efi" is not always in the definition
 */
export function nvramOf(root: XmlElement, ownPath: string): { path?: string; problem?: string } {
  const nvram = element(root, 'os', 'nvram');
  const source = element(nvram, 'source');
  const type = attribute(nvram, 'type') ?? 'file';
  if (type !== 'file') return { problem: `its NVRAM is of type "${type}", not a file` };
  const path = source === undefined ? innerText(nvram) : (attribute(source, 'file') ?? '');
  if (path !== '') return { path };
  return attribute(element(root, 'os'), 'firmware') === 'efi' || nvram !== undefined ? { path: ownPath } : {};
}

/**
 * The same for another domain, from the text that libvirt prints: unparsable metadata in its XML
 * must not hide its disks. Rather one file too many than one too few.
 */
export function imagesPrintedIn(xml: string): { files: string[]; heads: string[] } {
  const disks = xml
    .split(/<disk[\s>]/)
    .slice(1)
    .map((part) => part.split('</disk>', 1)[0] ?? '');
  const sources = (text: string): string[] =>
    [...text.matchAll(/<source\s[^>]*?\b(?:file|dev)=(?:'([^']*)'|"([^"]*)")/g)].map((match) => decodeEntities(match[1] ?? match[2] ?? ''));
  return {
    files: disks.flatMap(sources),
    heads: disks.flatMap((disk) => sources(disk.split(/<(?:backingStore|mirror)\b/, 1)[0] ?? '')),
  };
}

/** Every image that a domain's XML names: of all disks of any type, with their backing chains. */
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
