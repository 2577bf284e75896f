import { rm } from 'node:fs/promises';
import { CowherdError } from '../../../core/errors.js';
import { type Container, type ForeignFormat, isForeign, isPacking, titleOf } from '../../../core/image/formats/detect.js';
import { unpackedBytes } from '../../../core/limits.js';
import type { ImportRequest } from '../../../ports/bases.js';
import type { ImageTool } from '../../../ports/images.js';
import { hashFile } from '../image-files.js';
import { identify, inspect } from '../image-source.js';
import { convertForeign, examineForeign } from './convert.js';
import { named, nameOf, type Subject } from './subject.js';
import { type Unpacked, unpack } from './unpack.js';

/** A disk that can become a base image as it is. */
export interface Obtained {
  /** One of the two scratch files. */
  path: string;
  format: 'qcow2' | 'raw';
  how: 'unpacked' | 'converted';
  /** sha256 of the file. */
  digest: string;
  /** What was unpacked or converted, outermost first. */
  steps: string[];
  warning: string | undefined;
}

/**
 * Unpacks and converts an image.
 * @param scratch paths of two files that do not exist
 * @throws BASE_REFUSED, TOOL_MISSING, PREFLIGHT_FAILED, STORE_FAILED, INTERRUPTED
 */
export async function obtain(
  images: ImageTool,
  given: Subject,
  kind: Container,
  scratch: readonly [string, string],
  request: ImportRequest,
): Promise<Obtained> {
  const maxBytes = request.maxBytes ?? unpackedBytes.default;
  const discard = (path: string): Promise<void> => rm(path, { force: true });
  const unpacked: Unpacked = isPacking(kind)
    ? await unpack(given, kind, scratch, { request, maxBytes, discard })
    : { subject: given, digest: '', kind, steps: [] };
  const { subject, digest, steps } = unpacked;
  return named(subject, async () => {
    if (isForeign(unpacked.kind)) {
      const target = scratch.find((path) => path !== subject.path) ?? scratch[0];
      await convert(images, { subject, format: unpacked.kind, target }, { ...request, maxBytes });
      if (subject !== given) await discard(subject.path);
      const converted = await hashFile(target, undefined, request.signal);
      return {
        ...{ path: target, format: 'qcow2', how: 'converted', digest: converted },
        ...{ steps: [...steps, titleOf(unpacked.kind)], warning: undefined },
      };
    }
    const { stats } = await identify(subject.path);
    // The files that its header names would be looked for in the store.
    const alone = { ...request, trustChain: false };
    const { format, warning } = await inspect(images, subject.path, stats, alone, { name: nameOf(subject), isFresh: true });
    return { path: subject.path, format, how: 'unpacked', digest, steps, warning: warning?.replaceAll(subject.path, nameOf(subject)) };
  });
}

async function convert(
  images: ImageTool,
  { subject, format, target }: { subject: Subject; format: ForeignFormat; target: string },
  options: ImportRequest & { maxBytes: number },
): Promise<void> {
  assertFormat(subject.path, format, options.format);
  const virtualBytes = await examineForeign(subject.path, format);
  await convertForeign(images, subject, format, target, { ...options, virtualBytes });
}

/** @throws BASE_REFUSED if the user says that it is another format */
export function assertFormat(path: string, found: ForeignFormat, given: ImportRequest['format']): void {
  if (given === undefined) return;
  throw new CowherdError('BASE_REFUSED', `${path} is in the format ${titleOf(found)}, not ${given} as --format says`, {
    hint: 'Leave out --format: it is then converted to qcow2.',
  });
}
