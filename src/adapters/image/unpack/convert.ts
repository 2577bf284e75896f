import { CowherdError, isDiskFull } from '../../../core/errors.js';
import { type ForeignFormat, footerBytes, titleOf } from '../../../core/image/formats/detect.js';
import { vdiHeadBytes, vdiSize } from '../../../core/image/formats/vdi.js';
import { vhdFooterBytes, vhdSize } from '../../../core/image/formats/vhd.js';
import { regionTable, vhdxMetadata, vhdxSize } from '../../../core/image/formats/vhdx.js';
import { vmdkHeadBytes, vmdkSize, vmdkTailBytes } from '../../../core/image/formats/vmdk.js';
import type { ImportRequest } from '../../../ports/bases.js';
import type { ImageTool } from '../../../ports/images.js';
import { makeImage, openImage, readAt } from '../image-files.js';
import { noRoom, roomFor } from './sparse-file.js';
import { tooLarge } from './streams.js';
import { nameOf, type Subject } from './subject.js';

/**
 * Reads the headers of a disk in another format, before any tool opens it.
 * @returns its virtual size in bytes
 * @throws BASE_REFUSED if it needs another file, or is damaged
 */
export async function examineForeign(path: string, format: ForeignFormat): Promise<number> {
  const handle = await openImage(path);
  try {
    const { size } = await handle.stat();
    const read = (offset: number, length: number): Promise<Buffer> => readAt(handle, offset, length);
    switch (format) {
      case 'vmdk':
        // QEMU looks for the footer before the last whole sector.
        return Number(vmdkSize(path, await read(0, vmdkHeadBytes), await read(size - (size % 512) - vmdkTailBytes, vmdkTailBytes)));
      case 'vpc':
        return Number(vhdSize(path, await read(0, vhdFooterBytes), await read(size - footerBytes, footerBytes), BigInt(size)));
      case 'vhdx': {
        const { offset, length } = vhdxMetadata(path, await read(regionTable.offset, regionTable.length));
        return Number(vhdxSize(path, await read(offset, length)));
      }
      case 'vdi':
        return Number(vdiSize(path, await read(0, vdiHeadBytes)));
    }
  } finally {
    await handle.close();
  }
}

/**
 * Converts a disk to qcow2, into a new file. Its headers must have been examined.
 * @throws BASE_REFUSED, PREFLIGHT_FAILED, STORE_FAILED, INTERRUPTED
 */
export async function convertForeign(
  images: ImageTool,
  subject: Subject,
  format: ForeignFormat,
  target: string,
  { onProgress, signal, maxBytes, virtualBytes }: ImportRequest & { maxBytes: number; virtualBytes: number },
): Promise<void> {
  await makeImage(target);
  const room = await roomFor(target);
  try {
    await images.convert({
      source: { path: subject.path, format },
      target: { path: target, format: 'qcow2' },
      maxBytes: Math.min(maxBytes, room),
      onProgress: (percent) =>
        onProgress?.({
          what: `converting ${nameOf(subject)}`,
          doneBytes: (virtualBytes * percent) / 100,
          totalBytes: virtualBytes,
        }),
      signal,
    });
  } catch (error) {
    if (!(error instanceof CowherdError) || error.code !== 'TOOL_FAILED' || isDiskFull(error)) throw error;
    if (/File too large|SIGXFSZ/.test(error.message)) throw room < maxBytes ? noRoom(target, error) : tooLarge(subject, maxBytes);
    if (/was killed by|No space left|quota/i.test(error.message)) throw error;
    throw new CowherdError(
      'BASE_REFUSED',
      `${subject.path} cannot be read as ${titleOf(format)}: ${error.message.replace(/^prlimit failed: /, '')}`,
      {
        details: error.details.filter((line) => !line.startsWith('call:')),
        hint: 'It is damaged, or this QEMU does not support it. Copy it again from its source.',
        cause: error,
      },
    );
  }
}
