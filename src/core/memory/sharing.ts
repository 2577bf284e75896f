import {
  attribute,
  element,
  elements,
  innerText,
  makeElement,
  parseXml,
  printXml,
  removeChild,
  type XmlElement,
} from '../domain/xml-tree.js';
import { sharedBlock } from './split.js';

/**
 * Clones that share the memory of their source VM: QEMU maps the RAM image privately, as a copy-on-write backing file. The
 * arguments are in the XML of a restored clone only; a member that boots has its own memory.
 */

export interface RamImage {
  path: string;
  bytes: number;
  /** Whether QEMU opens it read-only. */
  isReadOnly: boolean;
}

const backend = `memory-backend-file,id=${sharedBlock},`;
const machine = `memory-backend=${sharedBlock}`;

/** Whether an argument of QEMU maps a RAM image. */
export function isSharedBackend(argument: string): boolean {
  return argument.startsWith(backend);
}

/** QEMU 8.2 can map a file privately that it opened read-only. @param hypervisor e.g. `QEMU 7.2.22` */
export function opensReadOnly(hypervisor: string): boolean {
  const [, major, minor] = /^QEMU (\d+)\.(\d+)/.exec(hypervisor) ?? [];
  return Number(major) > 8 || (Number(major) === 8 && Number(minor) >= 2);
}

/** The XML of a clone, with its main memory mapped from the RAM image. */
export function withSharedMemory(xml: string, { path, bytes, isReadOnly }: RamImage): string {
  const root = parseXml(xml, 'The XML of a clone');
  let commandLine = commandLineOf(root);
  if (commandLine === undefined) {
    root.attributes.set('xmlns:qemu', 'http://libvirt.org/schemas/domain/qemu/1.0');
    commandLine = makeElement('qemu:commandline');
    root.children.push(commandLine);
  }
  const prefix = commandLine.name.split(':')[0] ?? 'qemu';
  // QEMU reads a doubled comma as one.
  const object = `${backend}mem-path=${path.replaceAll(',', ',,')},share=off,size=${bytes}${isReadOnly ? ',readonly=on,rom=off' : ''}`;
  for (const value of ['-object', object, '-machine', machine]) commandLine.children.push(makeElement(`${prefix}:arg`, { value }));
  return printXml(root);
}

/** Removes what {@link withSharedMemory} added. */
export function removeSharedMemory(root: XmlElement): void {
  const commandLine = commandLineOf(root);
  if (commandLine === undefined) return;
  const args = elements(commandLine);
  for (const [position, arg] of args.entries()) {
    const value = attribute(arg, 'value') ?? '';
    const before = args[position - 1];
    if (before === undefined || (!value.startsWith(backend) && value !== machine)) continue;
    removeChild(commandLine, before);
    removeChild(commandLine, arg);
  }
  if (elements(commandLine).length === 0) removeChild(root, commandLine);
}

/**
 * Why clones of a domain cannot share its memory; undefined if they can. Whether its saved memory is one block is only known
 * when it is split.
 * @param xml of the running domain
 */
export function sharingObstacle(xml: string, hypervisor: string): string | undefined {
  const root = parseXml(xml, 'The XML of the source VM');
  removeSharedMemory(root);
  const devices = element(root, 'devices');
  const arch = attribute(element(root, 'os', 'type'), 'arch');
  if (arch !== 'x86_64' && arch !== 'i686') return `its architecture is ${arch}`;
  const backing = elements(element(root, 'memoryBacking') ?? makeElement('none')).find(({ name }) => name !== 'nosharepages');
  if (backing !== undefined) return `its memory is not ordinary memory (<memoryBacking> with <${backing.name}>)`;
  if (element(root, 'cpu', 'numa') !== undefined || element(root, 'numatune') !== undefined) return 'it has NUMA cells';
  if (element(root, 'maxMemory') !== undefined || elements(devices, 'memory').length > 0) return 'it has memory devices or slots for them';
  if (elements(devices, 'filesystem').some((one) => attribute(element(one, 'driver'), 'type') === 'virtiofs')) return 'it uses virtiofs';
  if (elements(devices).some((one) => ['vhostuser', 'vdpa'].includes(attribute(one, 'type') ?? '')))
    return 'it has a vhost-user or vDPA device';
  if (elements(devices, 'hostdev').length > 0) return 'it has a host device';
  const own = commandLineOf(root);
  if (own !== undefined && elements(own).some((arg) => /memory-backend|^-mem-/.test(attribute(arg, 'value') ?? '')))
    return 'its own QEMU arguments define memory';
  return balloonObstacle(root, hypervisor);
}

/**
 * A guest decides itself what it puts into its balloon. Before QEMU 8.2, QEMU then punches a hole into the file that the memory is
 * mapped from, although the mapping is private: into the memory of all clones.
 */
function balloonObstacle(root: XmlElement, hypervisor: string): string | undefined {
  const balloon = element(root, 'devices', 'memballoon');
  if (attribute(balloon, 'model') === 'none') return undefined;
  if (!opensReadOnly(hypervisor))
    return `it has a memory balloon, and with ${hypervisor} (before 8.2) a guest could damage the memory of all`;
  if (attribute(balloon, 'freePageReporting') === 'on') return 'its balloon reports free pages';
  const [memory, current] = ['memory', 'currentMemory'].map((name) => innerText(element(root, name)));
  return current === '' || current === memory ? undefined : 'its balloon is inflated';
}

function commandLineOf(root: XmlElement): XmlElement | undefined {
  return elements(root).find(({ name }) => name.endsWith(':commandline'));
}
