import { mkdir, readFile, stat } from 'node:fs/promises';
import writeFileAtomic from 'write-file-atomic';
import { CowherdError } from '../../core/errors.js';
import type { LocalFiles } from '../../ports/index.js';
import { isMissing, storeError } from '../store/files/files.js';
import { unreadable } from './denied.js';

export const localFiles: LocalFiles = {
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
  async makeDirectory(path) {
    await mkdir(path, { recursive: true }).catch((cause: unknown) => {
      throw storeError(`create the directory ${path}`, cause);
    });
  },
};
