import { lstat, realpath, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CowherdError } from '../../../core/errors.js';
import { isMissing, storeError } from './files.js';

/**
 * Unlinks files inside a directory of the store only: a path that leads out of it through a symbolic link
 * is refused. A missing file is fine.
 */
export class SafeUnlinker {
  readonly #root: string;
  #safeDirectories = new Map<string, Promise<void>>();

  /** @param root files outside this directory are never touched */
  constructor(root: string) {
    this.#root = root;
  }

  async unlink(path: string): Promise<void> {
    const directory = dirname(path);
    let safe = this.#safeDirectories.get(directory);
    if (safe === undefined) {
      safe = this.#assertInside(directory);
      this.#safeDirectories.set(directory, safe);
    }
    try {
      await safe;
      await unlink(path);
    } catch (cause) {
      if (!isMissing(cause)) throw storeError(`remove ${path}`, cause);
    }
  }

  async #assertInside(directory: string): Promise<void> {
    const [root, real] = await Promise.all([realpath(this.#root), realpath(directory)]);
    const stats = await lstat(directory);
    if (stats.isSymbolicLink() || (real !== root && !real.startsWith(`${root}/`))) {
      throw new CowherdError('STORE_FAILED', `${directory} leads out of the store`, {
        details: [`it is ${real}`],
        hint: 'cowherd does not remove files outside its store. Replace the link by the directory.',
      });
    }
  }
}
