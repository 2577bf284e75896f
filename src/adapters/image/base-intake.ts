import { lstat, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BaseRef } from '../../core/fleet/record.js';
import type { BaseRecord } from '../../core/image/base.js';
import type { LoneBase } from '../../core/image/base-chain.js';
import { namePattern } from '../../core/names.js';
import type { Readers } from '../host/readers.js';
import { isTemporary, writeJson } from '../store/files/atomic-write.js';
import { makeDirectory } from '../store/files/directories.js';
import { allocatedBytes, listDirectory, sealOf, storeError } from '../store/files/files.js';
import { assertDirectory } from '../store/files/own-files.js';
import { SafeUnlinker } from '../store/files/safe-unlinker.js';
import { baseLayout, partialName, storeLayout, unrecordedPrefix } from '../store/layout.js';
import { seal } from './image-files.js';

/** Adds images to the store and removes them, atomically. The caller holds the lock on base images. */

/** Removes leftovers of killed runs. Files that cannot be removed are ignored, since they block nothing. */
export async function sweepBases(root: string): Promise<void> {
  const { bases } = storeLayout(root);
  for (const name of (await listDirectory(bases)).filter((entry) => namePattern.test(entry))) {
    await sweepBase(join(bases, name)).catch(() => undefined);
  }
}

async function sweepBase(directory: string): Promise<void> {
  const names = await listDirectory(directory);
  const unlinker = new SafeUnlinker(directory);
  // No other run imports while this one holds the lock.
  const partials = names.filter((name) => partialName.test(name) || isTemporary(name));
  for (const name of partials) await unlinker.unlink(join(directory, name));
  for (const note of names.filter((name) => name.startsWith(unrecordedPrefix))) {
    const image = note.slice(unrecordedPrefix.length);
    const isRecorded = names.includes(image.replace(/\.\w+$/, '.json'));
    if (!isRecorded && /^[0-9a-f]{12}\.(qcow2|raw)$/.test(image)) {
      for (const kind of ['.memory', '.ram']) await unlinker.unlink(join(directory, image.replace(/\.\w+$/, kind)));
      await unlinker.unlink(join(directory, image));
    }
    await unlinker.unlink(join(directory, note));
  }
  // A directory that is not empty stays.
  if (names.length === 0 || partials.length > 0 || names.some((name) => name.startsWith(unrecordedPrefix)))
    await rmdir(directory).catch(() => undefined);
}

/** Removes an image and its record. */
export async function unpublish(root: string, ref: BaseRef, format: string): Promise<void> {
  const { directory, image, memory, ram, record, unrecorded } = baseLayout(root, ref, format);
  const unlinker = new SafeUnlinker(storeLayout(root).bases);
  // Works without it on a full disk, since removing images frees space.
  await writeFile(unrecorded, '').catch(() => undefined);
  // The record goes first: an image without a record is imported again, but a record without its image is an error.
  await unlinker.unlink(record);
  await unlinker.unlink(memory);
  await unlinker.unlink(ram);
  await unlinker.unlink(image);
  await unlinker.unlink(unrecorded);
  await rmdir(directory).catch(() => undefined);
}

/**
 * Calls `work` with the path of a partial file for a new image of that name, and removes the file afterwards.
 * @param kind a second file at the same time
 * @param doing how a file system error describes the operation
 */
export async function withPartial<T>(
  root: string,
  name: string,
  doing: string,
  work: (partial: string) => Promise<T>,
  kind: '' | '.ram' | '.unpacked' = '',
): Promise<T> {
  const directory = join(storeLayout(root).bases, name);
  await makeDirectory(directory);
  await assertDirectory(directory);
  const partial = join(directory, `.import-${process.pid}${kind}.partial`);
  try {
    return await work(partial);
  } catch (cause) {
    throw storeError(doing, cause);
  } finally {
    await rm(partial, { force: true });
    await rmdir(directory).catch(() => undefined);
  }
}

/** Seals a partial file, and gives it its name and then its record: an image without a record is not yet a base image. */
export async function publish(
  root: string,
  partial: string,
  facts: Omit<BaseRecord, 'version' | 'importedAt' | 'seal' | 'allocatedBytes'>,
  readers: Readers,
): Promise<{ base: LoneBase; warning: string | undefined }> {
  const layout = baseLayout(root, facts, facts.format);
  const isRestricted = await seal(partial, readers);
  const isNew = (await lstat(layout.image).catch(() => undefined)) === undefined;
  // An existing file may have overlays, even if its record is damaged.
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
    // An image that replaced one of the same content stays, since members are based on it.
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
