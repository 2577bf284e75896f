import type { DiskSpec } from '../spec/spec.js';
import { freeTarget, seedDisk } from './domain-conversion.js';
import type { ConversionReport } from './template-devices.js';
import { putAfter } from './template-tree.js';
import { attribute, element, elements, insertAfter, makeElement, removeChild, setAttribute, type XmlElement } from './xml-tree.js';

/** Disks of a domain that becomes a template: each writable one becomes an overlay of its own per member. */

export interface SourceDisk {
  /** Its target, e.g. `vda`. */
  target: string;
  path: string;
  format: 'qcow2' | 'raw';
  bus: DiskSpec['bus'];
}

export function convertDisks(devices: XmlElement, report: ConversionReport): SourceDisk[] {
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
        report.notes.push(`${target}: the floppy is omitted, since only one guest can write to it`);
      }
      continue;
    }
    const source = writableDisk(disk, target, report);
    if (source === undefined) continue;
    putOverlay(disk, disks.length);
    disks.push(source);
  }
  const last = all.at(-1);
  if (disks.length === 0) report.obstacles.push('it has no writable disk');
  if (last !== undefined) putAfter(devices, last, seedDisk(freeTarget(all)));
  return disks;
}

function writableDisk(disk: XmlElement, target: string, report: ConversionReport): SourceDisk | undefined {
  const source = element(disk, 'source');
  const type = attribute(disk, 'type');
  const path = attribute(source, 'file');
  const format = attribute(element(disk, 'driver'), 'type') ?? 'raw';
  const bus = attribute(element(disk, 'target'), 'bus') ?? 'virtio';
  if (type !== 'file' || path === undefined) {
    report.obstacles.push(`${target} is of type ${type}, not a file: copy it to one with "qemu-img convert"`);
  } else if (format !== 'qcow2' && format !== 'raw') {
    report.obstacles.push(`${target} is in the format ${format}, not qcow2 or raw`);
  } else if (element(disk, 'shareable') !== undefined) {
    report.obstacles.push(`${target} is shared with other domains`);
  } else if (element(disk, 'encryption') !== undefined || element(source, 'encryption') !== undefined) {
    report.obstacles.push(`${target} is encrypted`);
  } else if (element(source, 'slices') !== undefined) {
    report.obstacles.push(`${target} is a slice of its file`);
  } else if (element(disk, 'transient') !== undefined) {
    report.obstacles.push(`${target} is transient: libvirt makes an overlay of its own for it`);
  } else {
    // For additional disks this is only recorded; the template keeps their buses.
    return { target, path, format, bus: bus === 'scsi' || bus === 'sata' ? bus : 'virtio' };
  }
  return undefined;
}

function putOverlay(disk: XmlElement, position: number): void {
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
