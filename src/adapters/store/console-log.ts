import type { open } from 'node:fs/promises';
import { guestText } from '../../core/guest/text.js';
import type { ConsolePiece } from '../../ports/fleets.js';
import { isMissing, storeError } from './files/files.js';
import { openOwn } from './files/own-files.js';

const consoleChunkBytes = 64 * 1024;

/** Reads a piece of a console log. @param fromByte negative: from the end @param known the life that the last piece was of */
export async function readConsoleLog(consoleLog: string, fromByte: number, known?: string): Promise<ConsolePiece> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await openOwn(consoleLog);
  } catch (cause) {
    if (isMissing(cause)) return { text: guestText(''), nextByte: 0 };
    throw storeError(`read the console log ${consoleLog}`, cause);
  }
  try {
    const { size: bytes, ino, birthtimeNs } = await handle.stat({ bigint: true });
    const size = Number(bytes);
    // An inode number may be reused at once.
    const life = `${ino}-${birthtimeNs}`;
    // Shorter than before: virtlogd has started a new file.
    const isNew = fromByte > size || (known !== undefined && known !== life);
    const start = fromByte < 0 ? Math.max(0, size + fromByte) : isNew ? 0 : fromByte;
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(Math.min(consoleChunkBytes, size - start)), { position: start });
    const end = bytesRead - cutCharacter(buffer.subarray(0, bytesRead));
    return { text: guestText(buffer.subarray(0, end).toString('utf8')), nextByte: start + end, life };
  } finally {
    await handle.close();
  }
}

/** Length of an incomplete UTF-8 character at the end, in bytes. */
function cutCharacter(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}
