import type { GuestFacts } from '../../core/image/hygiene.js';
import type { ImageFile } from '../../ports/images.js';
import { type Disk, openDisk } from './disk.js';
import { type Ext4, openExt4 } from './ext4.js';
import { type ByteRange, fileSystemRanges } from './partitions.js';
import { ReadBudget } from './read-budget.js';

const maxTextBytes = 256;
const maxHostKeys = 16;
const maxEntries = 4096;

/**
 * Looks in an image for what should have been removed before it became a base image. The first ext2, ext3 or ext4 file
 * system with a directory /etc counts as the guest's root. LVM, xfs, btrfs and encrypted disks are not read, nor is /var if it
 * is a separate file system.
 * @param options.backing the backing files, nearest first; given by the caller, since names in the image are not followed
 * @param options.bytes,options.milliseconds limits, since the image is not trusted
 * @returns undefined if no root was found or it could not be read. Never throws, not even for a damaged image.
 */
export function inspectGuestFiles(path: string, format: 'qcow2' | 'raw', options: InspectOptions = {}): Promise<GuestFacts | undefined> {
  return withGuestDisk(path, format, options, async (disk, budget) => {
    for (const range of await fileSystemRanges(disk)) {
      const facts = await factsIn(disk, range);
      if (facts !== undefined || budget.isSpent) return facts;
    }
    return undefined;
  });
}

export interface InspectOptions {
  backing?: readonly ImageFile[];
  bytes?: number;
  milliseconds?: number;
}

/** Opens an image and its backing files for `work`. @returns undefined if that or the work fails, as for a damaged image */
export async function withGuestDisk<T>(
  path: string,
  format: 'qcow2' | 'raw',
  { backing = [], ...limits }: InspectOptions,
  work: (disk: Disk, budget: ReadBudget) => Promise<T>,
): Promise<T | undefined> {
  const budget = new ReadBudget(limits);
  let disk: Disk | undefined;
  try {
    for (const below of [...backing].reverse()) disk = await openDisk(below.path, below.format, budget, disk);
    disk = await openDisk(path, format, budget, disk);
    return await work(disk, budget);
  } catch {
    return undefined;
  } finally {
    await disk?.close().catch(() => undefined);
  }
}

async function factsIn(disk: Disk, range: ByteRange): Promise<GuestFacts | undefined> {
  try {
    const root = await openExt4(disk, range);
    if (root === undefined || (await root.listDirectory('/etc', 1)) === undefined) return undefined;
    return {
      machineId: await text(root, '/etc/machine-id'),
      sshHostKeys: await hostKeys(root),
      cloudInitInstance: await cloudInitInstance(root),
    };
  } catch {
    // A damaged file system must not hide the others.
    return undefined;
  }
}

async function hostKeys(root: Ext4): Promise<string[]> {
  const names = (await root.listDirectory('/etc/ssh', maxEntries)) ?? [];
  return names
    .filter((name) => /^ssh_host_\w+_key$/.test(name))
    .sort()
    .slice(0, maxHostKeys);
}

async function cloudInitInstance(root: Ext4): Promise<string | undefined> {
  const named = await text(root, '/var/lib/cloud/data/instance-id');
  // A link to the directory of that instance.
  const link = await root.readLink('/var/lib/cloud/instance');
  return named || (link === undefined ? undefined : printable(link.split('/').findLast((part) => part !== '') ?? ''));
}

/** The first line of a small file. @returns undefined if there is none */
async function text(root: Ext4, path: string): Promise<string | undefined> {
  const bytes = await root.readFile(path, maxTextBytes);
  return bytes === undefined ? undefined : printable(bytes.toString('latin1').split('\n')[0] ?? '');
}

/** Text from the image must not control the terminal. */
function printable(line: string): string {
  return line.replaceAll(/[^\x20-\x7e]/g, '?').trim();
}
