import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { CowherdError } from '../../../core/errors.js';
import { assertIsDisk, assertNoUrl, assertUnpacked, bootWarning, volumeSignature } from '../../../core/image/content.js';
import {
  assertImportable,
  headerBytes,
  imageFormat,
  maxVirtualBytes,
  parseQcow2Header,
  qcow2Magic,
} from '../../../core/image/qcow2-header.js';
import { importName } from '../../../core/names.js';
import { shellWord } from '../../../core/quoting.js';
import type { ImportRequest } from '../../../ports/bases.js';
import type { NamedFile } from '../../../ports/guest.js';
import type { WorkOptions } from '../../../services/fleet/access.js';
import type { NovaContext } from '../context.js';
import { interrupted } from '../http/retrier.js';

/** An image file of this host: whether it can be uploaded, and its hash. */

export interface ExaminedFile {
  file: NamedFile;
  name: string;
  format: 'qcow2' | 'raw';
  virtualBytes: number;
  warning: string | undefined;
}

export type FileRequest = Omit<ImportRequest, 'onProgress' | 'signal'>;

/** Holes are uploaded as zeros. */
const maxHoleBytes = 64 * 1024 ** 3;

/**
 * All checks that need only the beginning of the file. Its format is never left to the cloud, which would follow the names of other
 * files in it.
 * @throws FILE_NOT_FOUND, BASE_REFUSED, BAD_USAGE
 */
export async function examineFile({ ports }: Pick<NovaContext, 'ports'>, request: FileRequest): Promise<ExaminedFile> {
  assertNoUrl(request.path, 'curl');
  const file = await ports.files.image(request.path);
  const { path, bytes } = file;
  const name = importName(basename(path), request.name);
  const head = await file.read(0, headerBytes);
  assertUnpacked(path, head);
  if (!head.subarray(0, 4).equals(qcow2Magic))
    assertIsDisk(path, head, await file.read(volumeSignature.offset, volumeSignature.length), request.format);
  const format = imageFormat(path, head, request.format);
  if (bytes - file.allocatedBytes > maxHoleBytes) {
    refuse(
      `${path} is ${bytes} bytes long, of which ${file.allocatedBytes} are on disk`,
      `Uploading so many zeros takes too long. Convert it first: qemu-img convert -f ${format} -O qcow2 ${shellWord(path)} golden.qcow2`,
    );
  }
  if (format === 'raw') {
    assertRaw(path, bytes);
    return { file, name, format, virtualBytes: bytes, warning: bootWarning(path, head) };
  }
  const header = parseQcow2Header(path, head);
  if (header.hasBackingFile || header.externalDataFile) {
    refuse(
      `${path} ${header.hasBackingFile ? 'has a backing file of its own' : 'keeps its data in an external file'}, which the cloud would not have`,
      `If you trust it, merge both into one file first: qemu-img convert -O qcow2 ${shellWord(path)} golden.qcow2`,
    );
  }
  assertImportable(path, header, BigInt(bytes), { trustChain: true });
  return { file, name, format, virtualBytes: Number(header.virtualBytes), warning: undefined };
}

function assertRaw(path: string, bytes: number): void {
  if (bytes % 512 !== 0) {
    refuse(
      `${path} is ${bytes} bytes long, which is not a multiple of 512`,
      `It may be truncated, or not a disk image. If it is a disk image: truncate --size=%512 ${shellWord(path)}`,
    );
  }
  if (BigInt(bytes) > maxVirtualBytes) refuse(`${path} is a disk larger than 2 PiB`, 'No overlay can be made on a disk of that size.');
}

function refuse(message: string, hint: string): never {
  throw new CowherdError('BASE_REFUSED', message, { hint });
}

/** Reads the whole file. @returns its sha512, which the Image service also computes */
export async function hashOf(file: NamedFile, { signal, onProgress }: WorkOptions): Promise<string> {
  const hash = createHash('sha512');
  let doneBytes = 0;
  for await (const chunk of file.open()) {
    if (signal?.aborted === true) throw interrupted();
    hash.update(chunk as Buffer);
    doneBytes += (chunk as Buffer).length;
    onProgress?.({ kind: 'bytes', what: `reading ${file.path}`, doneBytes, totalBytes: file.bytes });
  }
  await file.assertUnchanged('read');
  return hash.digest('hex');
}
