import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { execa } from 'execa';
import { type BootSectorEnding, bootSector } from '../src/core/image/boot-sector.js';

interface Options {
  filledMiB?: number;
  /** What the guest does after it has written its disk. */
  ending?: BootSectorEnding;
  format?: 'qcow2' | 'raw';
  virtualMiB?: number;
}

/**
 * Builds a golden image with the boot-sector guest: a 64 MiB qcow2 disk, partly filled with random bytes in place of an installed
 * system.
 */
export async function buildGolden(
  path: string,
  { filledMiB = 0, ending = 'halt', format = 'qcow2', virtualMiB = 64 }: Options = {},
): Promise<void> {
  const raw = `${path}.raw.part`;
  const handle = await open(raw, 'w');
  try {
    await handle.write(bootSector(ending), 0, 512, 0);
    // The first MiB contains the sector that the guest writes.
    for (let mib = 1; mib <= filledMiB; mib++) await handle.write(randomBytes(1024 ** 2), 0, 1024 ** 2, mib * 1024 ** 2);
    await handle.truncate(virtualMiB * 1024 ** 2);
  } finally {
    await handle.close();
  }
  if (format === 'raw') return rename(raw, path);
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path]);
  await rm(raw);
}
