import { lstat, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BaseRecord } from '../core/base.js';
import type { LoneBase } from '../core/base-chain.js';
import { allocatedBytes, listDirectory, makeDirectory, Shears, sealOf, storeError, verifyDirectory, writeJson } from './files.js';
import { seal } from './image-files.js';
import { baseLayout, storeLayout } from './layout.js';

/** How a new image comes into the store: wholly or not at all. Only under the lock on base images. */

/**
 * Gives work a file to write a new image of that name to, and takes away what it leaves there.
 * @param doing what a failure of the file system is told as
 */
export async function withPartial<T>(root: string, name: string, doing: string, work: (partial: string) => Promise<T>): Promise<T> {
  const directory = join(storeLayout(root).bases, name);
  await makeDirectory(directory);
  await verifyDirectory(directory);
  const shears = new Shears(directory);
  // Nobody else imports while we hold the lock: any other partial file is what a crash left.
  for (const stale of await listDirectory(directory)) if (stale.endsWith('.partial')) await shears.unlink(join(directory, stale));
  const partial = join(directory, `.import-${process.pid}.partial`);
  try {
    return await work(partial);
  } catch (cause) {
    throw storeError(doing, cause);
  } finally {
    await rm(partial, { force: true });
    await rmdir(directory).catch(() => undefined);
  }
}

/** Seals a partial file and gives it its name and its record: the record last, since an image without one is no base image yet. */
export async function takeIn(
  root: string,
  partial: string,
  facts: Omit<BaseRecord, 'version' | 'importedAt' | 'seal' | 'allocatedBytes'>,
): Promise<LoneBase> {
  const layout = baseLayout(root, facts, facts.format);
  await seal(partial);
  const wasThere = (await lstat(layout.image).catch(() => undefined)) !== undefined;
  await rename(partial, layout.image);
  const stats = await lstat(layout.image, { bigint: true });
  const record: BaseRecord = {
    version: 1,
    ...facts,
    importedAt: new Date().toISOString(),
    seal: sealOf(stats),
    allocatedBytes: allocatedBytes(stats),
  };
  try {
    await writeJson(layout.record, record);
  } catch (cause) {
    // One that came in place of another of the same content stays: members stand on it.
    if (!wasThere) await rename(layout.image, partial);
    throw cause;
  }
  return { ...record, path: layout.image };
}
