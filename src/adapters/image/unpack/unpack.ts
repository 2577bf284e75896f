import { CowherdError } from '../../../core/errors.js';
import { archiveLimits } from '../../../core/image/formats/archive.js';
import { type Container, detect, isPacking, type Packing, uncompressedName } from '../../../core/image/formats/detect.js';
import type { ImportRequest } from '../../../ports/bases.js';
import { openImage } from '../image-files.js';
import { ArchiveReader } from './archive.js';
import { SparseFile } from './sparse-file.js';
import { begin, contentOf } from './streams.js';
import { kindOf, labelOf, nameOf, type Subject } from './subject.js';

/** An archive in a compressed file, with a compressed disk in it, is common. More are not. */
const mostLayers = 3;

export interface Unpacked {
  subject: Subject;
  /** sha256 of the file. */
  digest: string;
  kind: Container | undefined;
  /** What was unpacked, outermost first. */
  steps: Packing[];
}

/**
 * Unpacks a file until the disk is there.
 * @param scratch paths of two files that do not exist; the disk is in one of them
 * @throws BASE_REFUSED, TOOL_MISSING, PREFLIGHT_FAILED, INTERRUPTED
 */
export async function unpack(
  packed: Subject,
  outermost: Packing,
  scratch: readonly [string, string],
  { request, maxBytes, discard }: { request: ImportRequest; maxBytes: number; discard: (path: string) => Promise<void> },
): Promise<Unpacked> {
  const steps: Packing[] = [];
  let [subject, kind, digest]: [Subject, Container | undefined, string] = [packed, outermost, ''];
  for (let turn = 0; isPacking(kind); turn++) {
    const target = scratch[turn % 2] ?? scratch[0];
    const layer = await unpackLayer(subject, kind, target, { ...request, maxBytes }, steps);
    if (subject !== packed) await discard(subject.path);
    subject = { ...subject, path: target, inner: layer.name };
    digest = layer.digest;
    kind = await kindOf(target, request.format);
  }
  return { subject, digest, kind, steps };
}

/** Unpacks one compression, and the archive that is in it. @param steps gets what was unpacked */
async function unpackLayer(
  subject: Subject,
  kind: Packing,
  target: string,
  options: ImportRequest & { maxBytes: number },
  steps: Packing[],
): Promise<{ name: string; digest: string }> {
  const enter = (step: Packing): void => {
    steps.push(step);
    if (steps.length > mostLayers) throw tooDeep(subject, steps);
  };
  enter(kind);
  const [source, file] = [await openImage(subject.path), await SparseFile.create(target)];
  try {
    const content = contentOf(subject, source, kind, options);
    const name = kind === 'tar' ? nameOf(subject) : uncompressedName(nameOf(subject), kind);
    const { head, all } = await begin(content, archiveLimits.headBytes);
    const inner = detect(head, Buffer.alloc(0));
    if (inner === 'tar') {
      if (kind !== 'tar') enter('tar');
      const entry = await new ArchiveReader(subject, file, options).read(all);
      return { name: entry, digest: await file.finish() };
    }
    for await (const chunk of all) await file.write(chunk);
    return { name, digest: await file.finish() };
  } finally {
    await Promise.all([source.close(), file.close()]);
  }
}

function tooDeep(subject: Subject, steps: readonly Packing[]): CowherdError {
  return new CowherdError('BASE_REFUSED', `${labelOf(subject)} is packed more than ${mostLayers} times: ${steps.join(', ')}, …`, {
    hint: 'Unpack it, and import the disk that is in it.',
  });
}
