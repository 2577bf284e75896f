import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import prettyBytes from 'pretty-bytes';
import type { BaseImage } from '../../core/image/base.js';
import { type Container, isForeign } from '../../core/image/formats/detect.js';
import { parseQcow2Header } from '../../core/image/qcow2-header.js';
import type { ImportPreview, ImportRequest } from '../../ports/bases.js';
import { allocatedBytes, sealOf } from '../store/files/files.js';
import { baseLayout } from '../store/layout.js';
import { contentsOf } from './base-contents.js';
import type { IntakeContext, Source } from './base-import.js';
import { hashAndCopy, openImage, readHead } from './image-files.js';
import { inspect } from './image-source.js';
import { examineForeign } from './unpack/convert.js';
import { assertFormat } from './unpack/obtain.js';
import { kindOf, named } from './unpack/subject.js';

/** Stands for a digest that is only known after the import. */
const unknownDigest = '0'.repeat(64);

/**
 * The result of an import, without writing anything. Reads the whole image, since the digest is part of its identity; an image that has
 * to be unpacked or converted is not read.
 * @throws BASE_REFUSED, FILE_NOT_FOUND: as the import would, for what can be seen without unpacking
 */
export async function previewImport(context: IntakeContext, source: Source): Promise<ImportPreview> {
  const { images, catalog } = context;
  const { subject, stats, request } = source;
  const { path } = subject;
  const kind = await kindOf(path, request.format);
  if (kind !== undefined) return previewUnpacked(context, source, kind);
  const { format, warning } = await named(subject, () => inspect(images, path, stats, request));
  const header = format === 'qcow2' ? parseQcow2Header(path, await readHead(path)) : undefined;
  // Flattening writes another file, whose digest is not known in advance.
  const isFlattened = header !== undefined && (header.hasBackingFile || header.externalDataFile);
  const digest = isFlattened ? unknownDigest : (request.download?.pulled.sha256 ?? (await digestOf(path, request)));
  const { virtualBytes } = await images.info(path, format);
  const found = isFlattened ? {} : await contentsOf({ path, format }, request.defaults);
  const base = { ...predicted(context, source, { digest, format, virtualBytes }), ...found };
  const existing = isFlattened ? undefined : await catalog.existing(base);
  if (existing !== undefined) return { base: existing, how: 'already there', isDigestKnown: true };
  const notes = [warning, await lackOfRoom(context.root, base)].filter((note) => note !== undefined);
  return {
    base,
    how: isFlattened ? 'flattened' : request.download === undefined ? 'copied' : 'moved',
    isDigestKnown: !isFlattened,
    ...(notes.length === 0 ? {} : { warning: notes.join('; ') }),
  };
}

/** The size of a packed disk is unknown: what depends on it is only checked by the run itself. */
async function previewUnpacked(context: IntakeContext, source: Source, kind: Container): Promise<ImportPreview> {
  const { subject, stats, request } = source;
  if (!isForeign(kind)) {
    const base = predicted(context, source, { digest: unknownDigest, format: request.format ?? 'qcow2', virtualBytes: Number(stats.size) });
    const warning = 'its size is only known after it was unpacked';
    return { base, how: 'unpacked', isDigestKnown: false, warning };
  }
  const virtualBytes = await named(subject, async () => {
    assertFormat(subject.path, kind, request.format);
    return examineForeign(subject.path, kind);
  });
  const base = predicted(context, source, { digest: unknownDigest, format: 'qcow2', virtualBytes });
  return { base, how: 'converted', isDigestKnown: false };
}

function predicted(
  { root }: IntakeContext,
  { name, stats, source }: Source,
  { digest, format, virtualBytes }: Pick<BaseImage, 'digest' | 'format' | 'virtualBytes'>,
): BaseImage {
  return {
    version: 1,
    ...{ name, digest, format, virtualBytes, source },
    importedAt: new Date().toISOString(),
    seal: sealOf(stats),
    allocatedBytes: allocatedBytes(stats),
    path: baseLayout(root, { name, digest }, format).image,
    backing: [],
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
