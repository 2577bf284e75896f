import type { BigIntStats } from 'node:fs';
import { rename } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import type { BaseImage, BaseRecord } from '../../core/image/base.js';
import { assertNoUrl } from '../../core/image/content.js';
import { assertWithin, unpackedBytes } from '../../core/limits.js';
import { importName } from '../../core/names.js';
import type { ImportRequest, ImportResult } from '../../ports/bases.js';
import type { ImageTool } from '../../ports/images.js';
import type { Readers } from '../host/readers.js';
import { writeJson } from '../store/files/atomic-write.js';
import { baseLayout } from '../store/layout.js';
import { type BaseCatalog, recordOf } from './base-catalog.js';
import { contentsOf } from './base-contents.js';
import { publish, withPartial } from './base-intake.js';
import { assertUnchanged, copyInto, identify, inspect } from './image-source.js';
import { obtain } from './unpack/obtain.js';
import { kindOf, labelOf, named, nameOf, type Subject, subjectOf } from './unpack/subject.js';

/** Brings an image file or a download into the store. */

export interface IntakeContext {
  root: string;
  images: ImageTool;
  readers: Readers;
  catalog: BaseCatalog;
}

export interface Source {
  subject: Subject;
  /** Of the base image. */
  name: string;
  stats: BigIntStats;
  /** The identity of the file. */
  identity: string;
  /** As recorded. */
  source: BaseRecord['source'];
  request: ImportRequest;
}

/** @returns also the base image that this file was imported as, if neither has changed since */
export async function identifySource(catalog: BaseCatalog, given: ImportRequest): Promise<Source & { known?: BaseImage }> {
  // The files that a download's header names would be files of this host.
  const request = given.download === undefined ? given : { ...given, trustChain: false };
  assertWithin({ maxBytes: [request.maxBytes, { min: 1, max: unpackedBytes.max }] });
  if (request.download === undefined) assertNoUrl(request.path);
  const subject = subjectOf(resolve(request.path), request);
  const { stats, fingerprint: identity } = await identify(subject.path);
  const name = importName(nameOf(subject), request.name);
  const pulled = request.download?.pulled ?? request.pulled;
  const content = pulled === undefined ? identity : `${pulled.url} ${pulled.sha256}`;
  // Another disk of the same archive is another image.
  const disk = request.disk ?? pulled?.disk;
  const fingerprint = disk === undefined ? content : `${content} ${disk}`;
  const { bases } = await catalog.list();
  const known = bases.find((base) => base.source.fingerprint === fingerprint && base.name === name);
  const source = { path: pulled?.url ?? subject.origin, fingerprint };
  return {
    ...{ subject, name, stats, identity, source, request },
    ...(known !== undefined && (await catalog.isIntact(known)) ? { known } : {}),
  };
}

/** What a download adds to the record of an image. @param steps what was unpacked or converted */
export function pulledFrom({ download, pulled }: ImportRequest, steps: string[]): Pick<BaseRecord, 'pulled'> {
  if (download !== undefined) return { pulled: { ...download.pulled, unpacked: steps } };
  return pulled === undefined ? {} : { pulled };
}

export async function importSource(context: IntakeContext, source: Source): Promise<ImportResult> {
  const { root, images } = context;
  const { subject, stats, name, request } = source;
  const kind = await kindOf(subject.path, request.format);
  const doing = `import ${subject.origin}`;
  if (kind !== undefined) {
    const work = (partial: string, scratch: string): Promise<ImportResult> =>
      obtain(images, subject, kind, [partial, scratch], request).then(async (obtained) => {
        if (obtained.path !== partial) await rename(obtained.path, partial);
        await assertUnchanged(subject.path, source.identity, 'imported');
        return admit(context, source, partial, obtained);
      });
    return withPartial(root, name, doing, (partial) => withPartial(root, name, doing, (scratch) => work(partial, scratch), '.unpacked'));
  }
  const { format, warning } = await named(subject, () => inspect(images, subject.path, stats, request));
  return withPartial(root, name, doing, async (partial) => {
    const got = await take(context, source, format, partial);
    return admit(context, source, partial, { ...got, format, warning, steps: [] });
  });
}

type Taken = Pick<ImportResult, 'how'> & { digest: string };

/** Moves a download, and copies another file. */
async function take({ images, catalog }: IntakeContext, source: Source, format: 'qcow2' | 'raw', partial: string): Promise<Taken> {
  const { subject, stats, name, identity, request } = source;
  const { path } = subject;
  const digest = request.download?.pulled.sha256;
  if (digest !== undefined) {
    await assertUnchanged(path, identity, 'imported');
    // Stays where it is if it is not needed.
    if ((await catalog.existing({ name, digest })) !== undefined) return { how: 'already there', digest };
    const isMoved = await rename(path, partial).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EXDEV') throw error;
        return false;
      },
    );
    if (isMoved) return { how: 'moved', digest };
  }
  const taken = await copyInto(images, { path, format, stats, request }, partial);
  await assertUnchanged(path, identity, 'imported');
  return taken;
}

/** Makes a complete partial file a base image. */
async function admit(
  { root, images, readers, catalog }: IntakeContext,
  { subject, name, source, request }: Source,
  partial: string,
  { how, digest, format, steps, warning }: Taken & { format: 'qcow2' | 'raw'; steps: string[]; warning: string | undefined },
): Promise<ImportResult> {
  const pulled = pulledFrom(request, steps);
  const { origin, given } = await catalog.originOf({ name, digest });
  // The source VM is frozen while its disk is imported.
  const found = request.isFromQemu === true ? {} : await contentsOf({ path: partial, format }, { ...given, ...request.defaults });
  const existing = await catalog.existing({ name, digest });
  if (existing !== undefined) {
    const base = { ...existing, source, ...found, ...pulled };
    // Record this source too, so that the next import need not read it.
    await writeJson(baseLayout(root, existing, existing.format).record, recordOf(base, source));
    return { base, how: 'already there' };
  }
  const { virtualBytes } = await images.info(partial, format);
  if (virtualBytes === 0)
    throw new CowherdError('BASE_REFUSED', `${labelOf(subject)} is an empty disk`, {
      hint: 'A base image needs a disk that is not empty.',
    });
  const facts = { name, digest, format, virtualBytes, source };
  // Also replaces an image that was changed: the overlays there were created on this content.
  const { base, warning: exposed } = await publish(root, partial, { ...facts, ...origin, ...found, ...pulled }, readers);
  const warnings = [warning, exposed].filter((one) => one !== undefined).join('; ');
  return { base: { ...base, backing: [] }, how, ...(warnings === '' ? {} : { warning: warnings }) };
}
