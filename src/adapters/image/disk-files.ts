import { constants } from 'node:fs';
import { access, type FileHandle, open, readFile, realpath, rename, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import type { Seal } from '../../core/image/base.js';
import {
  backingNamePlace,
  filesNamed,
  headerBytes,
  imageFormat,
  parseQcow2Header,
  type Qcow2Header,
} from '../../core/image/qcow2-header.js';
import { isNotThere } from '../../core/snapshot/snapshot.js';
import type { DiskFiles } from '../../ports/index.js';
import { unreadable } from '../host/denied.js';
import { allocatedBytes, isMissing, listDirectory, storeError } from '../store/files/files.js';
import { readHead } from './image-files.js';

/** Images and NVRAM of domains that cowherd did not create, at any path. Nothing here unlinks. */
export const diskFiles: DiskFiles = {
  async seal(path) {
    const stats = await stat(path, { bigint: true }).catch(() => undefined);
    if (!stats?.isFile()) return undefined;
    return { size: Number(stats.size), mtimeNs: String(stats.mtimeNs), inode: String(stats.ino) } satisfies Seal;
  },

  async realPath(path) {
    return realpath(path).catch(() => path);
  },

  async allocatedBytes(path) {
    const stats = await stat(path).catch(() => undefined);
    return stats === undefined ? undefined : allocatedBytes(stats);
  },

  async qcow2Header(path): Promise<Qcow2Header> {
    const head = await readHead(path);
    imageFormat(path, head, 'qcow2');
    return parseQcow2Header(path, head);
  },

  async identity(path) {
    const stats = await stat(path, { bigint: true }).catch(() => undefined);
    return stats === undefined ? path : `${stats.dev}:${stats.ino}`;
  },

  async backingFiles(path) {
    const kind = await stat(path).catch(() => undefined);
    // A directory, pipe or socket has no backing file; reading it would fail or block.
    if (kind !== undefined && !kind.isFile() && !kind.isBlockDevice()) return [];
    const handle = await open(path, 'r').catch((cause: unknown) => {
      throw unreadable(path, cause);
    });
    try {
      const head = await readAt(handle, 0, headerBytes);
      const place = backingNamePlace(head);
      if (place === undefined) return [];
      const names = filesNamed(path, (await readAt(handle, place.offset, place.length)).toString('utf8'));
      const directories = [dirname(path), dirname(await realpath(path))];
      return names.flatMap((name) => (isAbsolute(name) ? [name] : directories.map((directory) => join(directory, name))));
    } finally {
      await handle.close();
    }
  },

  async obstacle(path, wanted) {
    try {
      await access(path, wanted === 'write' ? constants.R_OK | constants.W_OK : constants.R_OK);
      return undefined;
    } catch (cause) {
      return isMissing(cause) ? isNotThere : `this user may not ${wanted} it`;
    }
  },

  async filesIn(directory, isDeep) {
    const found: string[] = [];
    for (const name of await listDirectory(directory)) {
      const path = join(directory, name);
      const stats = await stat(path).catch(() => undefined);
      if (stats?.isFile()) found.push(path);
      else if (isDeep && stats?.isDirectory()) found.push(...(await diskFiles.filesIn(path, true)));
    }
    return found;
  },

  async replaceContent(from, to) {
    // Always the same name: the next run reuses what a crash left, since nothing is unlinked here.
    const fresh = join(dirname(to), `.${basename(to)}.cowherd`);
    const { O_CREAT, O_TRUNC, O_WRONLY, O_NOFOLLOW } = constants;
    try {
      const content = await readFile(from);
      const replaced = await stat(to).catch(() => undefined);
      const handle = await open(fresh, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW, 0o600);
      try {
        await handle.writeFile(content);
        if (replaced !== undefined) {
          await handle.chmod(replaced.mode & 0o7777);
          await handle.chown(replaced.uid, replaced.gid);
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(fresh, to);
      await syncFile(dirname(to), constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (cause) {
      throw storeError(`restore ${to}`, cause);
    }
  },

  async sync(path) {
    await syncFile(path).catch((cause: unknown) => {
      throw storeError(`write ${path} to the disk`, cause);
    });
  },
};

export async function syncFile(path: string, flags: number = constants.O_RDONLY): Promise<void> {
  const handle = await open(path, flags);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), { position });
  return buffer.subarray(0, bytesRead);
}
