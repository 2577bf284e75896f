import { randomBytes } from 'node:crypto';
import { lstat, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import type { OverlayCopy, OverlayStore } from '../../ports/fleets.js';
import { allocatedBytes, listDirectory, storeError } from './files.js';
import { copyPrefix, fleetLayout, overlayEnding } from './layout.js';
import { SafeUnlinker } from './safe-unlinker.js';

/** Copies of overlays that replace them. */
export class OverlayDirectory implements OverlayStore {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async sweep(fleet: string): Promise<void> {
    const { directory, overlays } = fleetLayout(this.#root, fleet);
    const unlinker = new SafeUnlinker(directory);
    for (const name of await listDirectory(overlays)) if (name.startsWith(copyPrefix)) await unlinker.unlink(join(overlays, name));
  }

  async beginCopy(fleet: string, stem: string): Promise<OverlayCopy> {
    const { directory, overlays } = fleetLayout(this.#root, fleet);
    const overlay = join(overlays, stem + overlayEnding);
    // Random: after a kill -9, a tool may still be writing to a copy that the next run has unlinked.
    const path = join(overlays, `${copyPrefix}${randomBytes(6).toString('hex')}${overlayEnding}`);
    const attempt = async <T>(doing: string, work: () => Promise<T>): Promise<T> => {
      try {
        return await work();
      } catch (cause) {
        throw storeError(doing, cause);
      }
    };
    const before = await attempt(`read ${overlay}`, () => identify(overlay));
    // qemu-img would create it world-readable, and it contains everything that the guest wrote.
    await attempt(`write ${path}`, async () => {
      const handle = await open(path, 'wx', 0o600);
      try {
        const { uid, gid } = await lstat(overlay);
        // In another user's store, root must not take the overlay from its owner.
        if (process.getuid?.() === 0) await handle.chown(uid, gid);
      } finally {
        await handle.close();
      }
    });
    return {
      path,
      sizes: () =>
        attempt(`sync ${path}`, async () => {
          const handle = await open(path, 'r+');
          try {
            await handle.sync();
            return { overlay: allocatedBytes(await lstat(overlay)), copy: allocatedBytes(await handle.stat()) };
          } finally {
            await handle.close();
          }
        }),
      place: () =>
        attempt(`replace ${overlay} by ${path}`, async () => {
          if ((await identify(overlay)) !== before) {
            throw new CowherdError('STORE_FAILED', `${overlay} changed while it was copied; it was left unchanged`, {
              hint: 'Was the member started by hand? Stop it, and try again.',
            });
          }
          await rename(path, overlay);
        }),
      discard: () => new SafeUnlinker(directory).unlink(path),
    };
  }
}

/** Changes whenever the file is written to, replaced, or given to another user, as at a start. */
async function identify(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await lstat(path, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}
