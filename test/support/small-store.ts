import { mkdir, open, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Lab } from './lab.js';

/** The store of a lab on a separate file system of a few MiB, which can be filled up or made read-only. */
export class SmallStore {
  readonly #lab: Lab;

  private constructor(lab: Lab) {
    this.#lab = lab;
  }

  static async mount(lab: Lab, kib: number): Promise<SmallStore> {
    await mkdir(lab.store, { recursive: true });
    await execa('mount', ['-t', 'tmpfs', '-o', `size=${kib}k,mode=755`, 'cwt-small', lab.store]);
    return new SmallStore(lab);
  }

  get #ballast(): string {
    return join(this.#lab.store, 'ballast');
  }

  /** Fills it up to the given free space. */
  async leave(kib: number): Promise<void> {
    await this.release();
    const { bavail, bsize } = await statfs(this.#lab.store);
    const bytes = bavail * bsize - kib * 1024;
    if (bytes < 0) throw new Error(`only ${(bavail * bsize) / 1024} KiB are free, not ${kib}`);
    const handle = await open(this.#ballast, 'w');
    try {
      const chunk = Buffer.alloc(64 * 1024, 'x');
      for (let left = bytes; left > 0; left -= chunk.length) await handle.write(chunk, 0, Math.min(left, chunk.length));
    } finally {
      await handle.close();
    }
  }

  async release(): Promise<void> {
    await rm(this.#ballast, { force: true });
  }

  async remount(mode: 'ro' | 'rw'): Promise<void> {
    await execa('mount', ['-o', `remount,${mode}`, this.#lab.store]);
  }

  /** Temporary files: none may remain after the run that created them. */
  async leftovers(): Promise<string[]> {
    const files = await readdir(this.#lab.store, { recursive: true });
    return files.filter((file) => /\.(partial|new|tmp)$|\.(fresh|compact|import|cowherd)-/.test(file));
  }

  async unmount(): Promise<void> {
    await execa('umount', ['--lazy', this.#lab.store], { reject: false });
  }
}
