import { lstat, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BaseRef } from '../../core/fleet/record.js';
import type { BaseRecord } from '../../core/image/base.js';
import type { LoneBase } from '../../core/image/base-chain.js';
import { namePattern } from '../../core/names.js';
import type { Readers } from '../host/readers.js';
import { isTemporary, writeJson } from '../store/atomic-write.js';
import { makeDirectory } from '../store/directories.js';
import { allocatedBytes, listDirectory, sealOf, storeError } from '../store/files.js';
import { baseLayout, storeLayout, unrecordedPrefix } from '../store/layout.js';
import { assertDirectory } from '../store/own-files.js';
import { SafeUnlinker } from '../store/safe-unlinker.js';
import { seal } from './image-files.js';

/** How an image comes into the store and leaves it: wholly or not at all. Only under the lock on base images. */

/** Removes what runs that were killed have left. What cannot be removed stays: it keeps nobody from anything. */
export async function sweepBases(root: string): Promise<void> {
  const { bases } = storeLayout(root);
  for (const name of (await listDirectory(bases)).filter((entry) => namePattern.test(entry))) {
    await sweepBase(join(bases, name)).catch(() => undefined);
  }
}

async function sweepBase(directory: string): Promise<void> {
  const names = await listDirectory(directory);
  const unlinker = new SafeUnlinker(directory);
  // Nobody else imports while we hold the lock.
  const partials = names.filter((name) => /^\.import-\d+\.partial$/.test(name) || isTemporary(name));
  for (const name of partials) await unlinker.unlink(join(directory, name));
  for (const note of names.filter((name) => name.startsWith(unrecordedPrefix))) {
    const image = note.slice(unrecordedPrefix.length);
    const isRecorded = names.includes(image.replace(/\.\w+$/, '.json'));
    if (!isRecorded && /^[0-9a-f]{12}\.(qcow2|raw)$/.test(image)) {
      await unlinker.unlink(join(directory, image.replace(/\.\w+$/, '.memory')));
      await unlinker.unlink(join(directory, image));
    }
    await unlinker.unlink(join(directory, note));
  }
  // One that holds something stays.
  if (names.length === 0 || partials.length > 0 || names.some((name) => name.startsWith(unrecordedPrefix)))
    await rmdir(directory).catch(() => undefined);
}

/** Removes an image and its record. */
export async function unpublish(root: string, ref: BaseRef, format: string): Promise<void> {
  const { directory, image, memory, record, unrecorded } = baseLayout(root, ref, format);
  const unlinker = new SafeUnlinker(storeLayout(root).bases);
  // On a full disk it must go without, since this is what frees some.
  await writeFile(unrecorded, '').catch(() => undefined);
  // The record first: an image without a record is imported again, a record without its image would be an error.
  await unlinker.unlink(record);
  await unlinker.unlink(memory);
  await unlinker.unlink(image);
  await unlinker.unlink(unrecorded);
  await rmdir(directory).catch(() => undefined);
}

/**
 * Gives work a file to write a new image of that name to, and takes away what it leaves there.
 * @param doing what a failure of the file system is told as
 */
export async function withPartial<T>(root: string, name: string, doing: string, work: (partial: string) => Promise<T>): Promise<T> {
  const directory = join(storeLayout(root).bases, name);
  await makeDirectory(directory);
  await assertDirectory(directory);
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
export async function publish(
  root: string,
  partial: string,
  facts: Omit<BaseRecord, 'version' | 'importedAt' | 'seal' | 'allocatedBytes'>,
  readers: Readers,
): Promise<{ base: LoneBase; warning: string | undefined }> {
  const layout = baseLayout(root, facts, facts.format);
  const isRestricted = await seal(partial, readers);
  const isNew = (await lstat(layout.image).catch(() => undefined)) === undefined;
  // Of one that was there already, overlays may stand on it whatever has become of its record.
  if (isNew) await writeFile(layout.unrecorded, '');
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
    if (isNew) await rename(layout.image, partial);
    throw cause;
  } finally {
    if (isNew) await rm(layout.unrecorded, { force: true });
  }
  const warning = isRestricted
    ? undefined
    : `every user of this host can read ${layout.image}: QEMU runs as another user, and you are not a member of its group. ${await readers.advice(storeLayout(root).bases)}`;
  return { base: { ...record, path: layout.image }, warning };
}
