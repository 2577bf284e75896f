import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import prettyBytes from 'pretty-bytes';
import type { BaseImage } from '../../core/image/base.js';
import { parseQcow2Header } from '../../core/image/qcow2-header.js';
import type { ImportPreview, ImportRequest } from '../../ports/bases.js';
import type { ImageTool } from '../../ports/images.js';
import { allocatedBytes, sealOf } from '../store/files/files.js';
import { baseLayout } from '../store/layout.js';
import { hashAndCopy, openImage, readHead } from './image-files.js';
import { identify, inspect } from './image-source.js';

/**
 * The result of an import, without writing anything. Reads the whole image, since the digest is part of its identity.
 * @param path absolute
 * @param known the base image of the store with the same content, if there is one
 * @throws BASE_REFUSED, FILE_NOT_FOUND: as the import would
 */
export async function previewImport(
  { root, images, known }: { root: string; images: ImageTool; known: (ref: BaseImage) => Promise<BaseImage | undefined> },
  { path, name, request }: { path: string; name: string; request: ImportRequest },
): Promise<ImportPreview> {
  const { stats, fingerprint } = await identify(path);
  const { format, warning } = await inspect(images, path, stats, request);
  const header = format === 'qcow2' ? parseQcow2Header(path, await readHead(path)) : undefined;
  // Flattening writes another file, whose digest is not known in advance.
  const isFlattened = header !== undefined && (header.hasBackingFile || header.externalDataFile);
  const digest = isFlattened ? '0'.repeat(64) : await digestOf(path, request);
  const { virtualBytes } = await images.info(path, format);
  const base: BaseImage = {
    version: 1,
    name,
    digest,
    format,
    virtualBytes,
    importedAt: new Date().toISOString(),
    source: { path, fingerprint },
    seal: sealOf(stats),
    allocatedBytes: allocatedBytes(stats),
    path: baseLayout(root, { name, digest }, format).image,
    backing: [],
  };
  const existing = isFlattened ? undefined : await known(base);
  if (existing !== undefined) return { base: existing, how: 'already there', isDigestKnown: true };
  const notes = [warning, await lackOfRoom(root, base)].filter((note) => note !== undefined);
  return {
    base,
    how: isFlattened ? 'flattened' : 'copied',
    isDigestKnown: !isFlattened,
    ...(notes.length === 0 ? {} : { warning: notes.join('; ') }),
  };
}

async function digestOf(path: string, { onProgress, signal }: ImportRequest): Promise<string> {
  const handle = await openImage(path);
  try {
    return await hashAndCopy(handle, undefined, onProgress, signal);
  } finally {
    await handle.close();
  }
}

/** Only a warning: with reflinks a copy needs no space, and whether they work is known only when copying. */
async function lackOfRoom(root: string, { allocatedBytes: needed }: BaseImage): Promise<string | undefined> {
  for (let directory = root; ; directory = dirname(directory)) {
    const space = await statfs(directory).catch(() => undefined);
    if (space === undefined && directory !== dirname(directory)) continue;
    const free = space === undefined ? 0 : space.bavail * space.bsize;
    if (needed <= free) return undefined;
    const [all, left] = [needed, free].map((count) => prettyBytes(count, { binary: true }));
    return `a copy of the image needs ${all}, but ${directory} has only ${left} free`;
  }
}
