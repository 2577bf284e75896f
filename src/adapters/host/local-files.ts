import { mkdir, readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import writeFileAtomic from 'write-file-atomic';
import { CowherdError } from '../../core/errors.js';
import type { ImageFiles, LocalFiles, NamedFile } from '../../ports/index.js';
import { openImage } from '../image/image-files.js';
import { assertUnchanged, identify } from '../image/image-source.js';
import { allocatedBytes, isMissing, storeError } from '../store/files/files.js';
import { unreadable } from './denied.js';

const chunkBytes = 1024 * 1024;

export const localFiles: LocalFiles & ImageFiles = {
  async read(path, maxBytes) {
    try {
      const { size } = await stat(path);
      if (size > maxBytes) {
        throw new CowherdError('BAD_USAGE', `${path} is larger than the guest agent can transfer (${maxBytes / 1024 ** 2} MiB)`, {
          hint: 'Use ssh: --via ssh.',
        });
      }
      return await readFile(path);
    } catch (cause) {
      if (cause instanceof CowherdError) throw cause;
      throw unreadable(path, cause);
    }
  },
  async write(path, bytes) {
    await writeFileAtomic(path, bytes).catch((cause: unknown) => {
      throw storeError(`write ${path}`, cause);
    });
  },
  async kind(path) {
    try {
      return (await stat(path)).isDirectory() ? 'directory' : 'file';
    } catch (cause) {
      if (isMissing(cause)) return 'missing';
      throw storeError(`inspect ${path}`, cause);
    }
  },
  async image(named): Promise<NamedFile> {
    const path = resolve(named);
    const { stats, fingerprint } = await identify(path);
    return {
      path,
      bytes: Number(stats.size),
      allocatedBytes: allocatedBytes(stats),
      read: (offset, length) => readPart(path, offset, length),
      open: () => Readable.from(chunksOf(path), { objectMode: false }),
      assertUnchanged: (doing) => assertUnchanged(path, fingerprint, doing),
    };
  },
  async makeDirectory(path) {
    await mkdir(path, { recursive: true }).catch((cause: unknown) => {
      throw storeError(`create the directory ${path}`, cause);
    });
  },
};

async function readPart(path: string, offset: number, length: number): Promise<Buffer> {
  const handle = await openImage(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** A destroyed stream ends the loop, and so closes the file. */
async function* chunksOf(path: string): AsyncGenerator<Buffer> {
  const handle = await openImage(path);
  try {
    for (let position = 0; ; ) {
      // A new buffer each time: the stream may still hold the last one.
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}
