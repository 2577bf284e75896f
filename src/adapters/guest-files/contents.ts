import type { Contents } from '../../core/image/origin.js';
import { maxOsReleaseBytes, parseOsRelease } from '../../core/image/os-release.js';
import type { Disk } from './disk.js';
import { type Ext4, openExt4 } from './ext4.js';
import { hasUefiLoader } from './fat.js';
import { type InspectOptions, withGuestDisk } from './inspect.js';
import { type ByteRange, type PartitionTable, readPartitionTable } from './partitions.js';
import type { ReadBudget } from './read-budget.js';

/** More partitions are not examined. */
const maxFileSystems = 32;
const maxPythons = 8;
const maxEntries = 4096;

/**
 * Finds out what is in an image without booting it. As for {@link inspectGuestFiles}, the first ext file system with a directory /etc
 * counts as the guest's root, and xfs, btrfs, LVM and encrypted disks are not read: then only the firmware can be told.
 * @returns only what could be found out. Never throws, not even for a damaged image.
 */
export async function inspectContents(path: string, format: 'qcow2' | 'raw', options: InspectOptions = {}): Promise<Contents> {
  const contents = await withGuestDisk(path, format, options, async (disk, budget): Promise<Contents> => {
    const table = await readPartitionTable(disk);
    const partitions = table.partitions.slice(0, maxFileSystems);
    const firmware = await answer(() => firmwareOf(disk, table, partitions));
    const guest = await Guest.find(disk, [...partitions, { offset: 0, length: disk.virtualBytes }], budget);
    const [os, cloudInit, agent] = [await guest?.os(), await guest?.hasCloudInit(), await guest?.hasAgent()];
    return {
      ...(os === undefined ? {} : { os }),
      ...(cloudInit === undefined ? {} : { cloudInit }),
      ...(agent === undefined ? {} : { agent }),
      ...(firmware === undefined ? {} : { firmware }),
    };
  });
  return contents ?? {};
}

/** @returns undefined if it fails: a damaged part must not hide the others */
async function answer<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch {
    return undefined;
  }
}

async function firmwareOf(disk: Disk, table: PartitionTable, partitions: readonly ByteRange[]): Promise<Contents['firmware']> {
  let isUefi = false;
  // UEFI firmware looks in each FAT file system, whatever the type of its partition is.
  for (const range of partitions) isUefi ||= (await answer(() => hasUefiLoader(disk, range))) === true;
  // Beside a GPT, installers of UEFI systems leave code that cannot boot from it.
  const isBios = table.hasBootCode && (table.isForBios || table.kind !== 'gpt' || !isUefi);
  if (isUefi) return isBios ? 'both' : 'uefi';
  return isBios ? 'bios' : undefined;
}

/** The file systems of a guest. Each question is answered with undefined if it cannot be told. */
class Guest {
  readonly #root: Ext4;
  /** A separate file system for /usr; null if it is separate and was not found. */
  readonly #usr: Ext4 | null | undefined;

  constructor(root: Ext4, usr: Ext4 | null | undefined) {
    this.#root = root;
    this.#usr = usr;
  }

  static async find(disk: Disk, ranges: readonly ByteRange[], budget: ReadBudget): Promise<Guest | undefined> {
    const systems: Ext4[] = [];
    let root: Ext4 | undefined;
    for (const range of ranges) {
      if (budget.isSpent) return undefined;
      const system = await answer(() => openExt4(disk, range));
      if (system === undefined) continue;
      if (root === undefined && (await answer(() => system.listDirectory('/etc', 1))) !== undefined) root = system;
      else systems.push(system);
    }
    if (root === undefined) return undefined;
    const own = await answer(async () => root.listDirectory('/usr', 1));
    if (own !== undefined && own.length > 0) return new Guest(root, undefined);
    for (const system of systems) {
      const hasAll = async (): Promise<boolean> =>
        (await system.listDirectory('/bin', 1)) !== undefined && (await system.listDirectory('/lib', 1)) !== undefined;
      if ((await answer(hasAll)) === true) return new Guest(root, system);
    }
    return new Guest(root, null);
  }

  os(): Promise<Contents['os']> {
    return answer(async () => {
      for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
        const bytes = await this.#first(path, (system, name) => system.readFile(name, maxOsReleaseBytes));
        if (bytes !== undefined) return parseOsRelease(bytes.toString('utf8'));
      }
      return undefined;
    });
  }

  hasCloudInit(): Promise<boolean | undefined> {
    return answer(async () => {
      // Installed, but told to do nothing.
      if (await this.#isFile('/etc/cloud/cloud-init.disabled')) return false;
      if (await this.#isAny('/usr/bin/cloud-init', '/usr/bin/tiny-cloud', '/etc/tiny-cloud.conf')) return true;
      if (await this.#hasPythonModule()) return true;
      // It stays behind when the package is removed, so it says nothing if the programs can be read.
      if (this.#usr === null) return (await this.#isFile('/etc/cloud/cloud.cfg')) ? true : undefined;
      return false;
    });
  }

  hasAgent(): Promise<boolean | undefined> {
    return answer(async () => {
      if (await this.#isAny('/usr/sbin/qemu-ga', '/usr/bin/qemu-ga', '/usr/local/sbin/qemu-ga', '/usr/local/bin/qemu-ga')) return true;
      return this.#usr === null ? undefined : false;
    });
  }

  async #hasPythonModule(): Promise<boolean> {
    const names = (await this.#first('/usr/lib', (system, path) => system.listDirectory(path, maxEntries))) ?? [];
    for (const python of names.filter((name) => /^python3[.\d]{0,6}$/.test(name)).slice(0, maxPythons)) {
      for (const packages of ['site-packages', 'dist-packages']) {
        const path = `/usr/lib/${python}/${packages}/cloudinit`;
        if ((await this.#first(path, (system, name) => system.listDirectory(name, 1))) !== undefined) return true;
      }
    }
    return false;
  }

  async #isAny(...paths: string[]): Promise<boolean> {
    for (const path of paths) if (await this.#isFile(path)) return true;
    return false;
  }

  async #isFile(path: string): Promise<boolean> {
    return (await this.#first(path, (system, name) => system.readFile(name, 0))) !== undefined;
  }

  /** Asks the root file system, then that of /usr. Links are followed inside each of them only. */
  async #first<T>(path: string, ask: (system: Ext4, path: string) => Promise<T | undefined>): Promise<T | undefined> {
    const found = await ask(this.#root, path);
    if (found !== undefined || !this.#usr || !path.startsWith('/usr/')) return found;
    return ask(this.#usr, path.slice('/usr'.length));
  }
}
