import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { execa } from 'execa';
import { bootSector } from '../dist/core/image/boot-sector.js';

/**
 * Builds a golden image around the boot-sector guest: a qcow2 disk of 64 MiB, part of it filled with random bytes that stand
 * for an installed system.
 *
 * @param {string} path where to
 * @param {{filledMiB?: number, ending?: import('../dist/core/image/boot-sector.js').BootSectorEnding, format?: 'qcow2' | 'raw', virtualMiB?: number}} [options]
 */
export async function buildGolden(path, { filledMiB = 0, ending = 'halt', format = 'qcow2', virtualMiB = 64 } = {}) {
  const raw = `${path}.raw.part`;
  const handle = await open(raw, 'w');
  try {
    await handle.write(bootSector(ending), 0, 512, 0);
    // The first MiB is the guest's: it holds the sector that it writes.
    for (let mib = 1; mib <= filledMiB; mib++) await handle.write(randomBytes(1024 ** 2), 0, 1024 ** 2, mib * 1024 ** 2);
    await handle.truncate(virtualMiB * 1024 ** 2);
  } finally {
    await handle.close();
  }
  if (format === 'raw') return rename(raw, path);
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path]);
  await rm(raw);
}
