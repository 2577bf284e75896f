import type { BaseRef } from '../../../core/fleet/record.js';
import { formatBaseRef } from '../../../core/image/base.js';
import type { WorkOptions } from '../../../services/fleet/access.js';
import type { NovaContext } from '../context.js';
import { baseRefOf } from '../core/fleet-image.js';
import type { Image } from '../core/images.js';
import { findBase, importFile, previewFile } from './import-file.js';

/** The image that a command was given as `--base`. */
export interface ChosenImage {
  base: BaseRef;
  /** Empty in a preview of a file that would be uploaded. */
  id: string;
  /** The least that a server has to have. */
  needs: { diskGiB: number; ramMiB: number };
  notes: string[];
}

export interface ChooseOptions extends WorkOptions {
  format?: 'qcow2' | 'raw' | undefined;
  /** Upload nothing, only find out which image it would be. */
  isPreview: boolean;
}

/** @throws BASE_NOT_FOUND, FILE_NOT_FOUND, BASE_REFUSED */
export async function chooseImage(
  context: NovaContext,
  given: string,
  { isPreview, format, ...work }: ChooseOptions,
): Promise<ChosenImage> {
  const found = await findBase(context, given, work);
  if (found.kind === 'image') return chosen(found.image);
  const request = { path: given, trustChain: false, format };
  if (!isPreview) return chosen(await importFile(context, request, work));
  const { base, image, examined } = await previewFile(context, request, work);
  if (image !== undefined) return chosen(image);
  const needs = { diskGiB: wholeGiB(examined.virtualBytes), ramMiB: 0 };
  return { base, id: '', needs, notes: [`${given} would be uploaded as ${formatBaseRef(base)}`] };
}

export function chosen(image: Image): ChosenImage {
  const { id, bytes = 0, virtualBytes = bytes, minDiskGiB, minRamMiB } = image;
  const needs = { diskGiB: Math.max(minDiskGiB, wholeGiB(virtualBytes)), ramMiB: minRamMiB };
  return { base: baseRefOf(image), id, needs, notes: [] };
}

function wholeGiB(bytes: number): number {
  return Math.ceil(bytes / 1024 ** 3);
}
