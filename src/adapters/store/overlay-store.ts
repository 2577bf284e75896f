import { randomBytes } from 'node:crypto';
import { lstat, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { CowherdError } from '../../core/errors.js';
import { nonZeroSegments } from '../../core/image/overlay.js';
import type { OverlayCopy, OverlayStore } from '../../ports/fleets.js';
import { readBackingName } from '../image/image-files.js';
import { runTool } from '../process.js';
import { scratchName, writeImage } from './files/atomic-write.js';
import { makeDirectory } from './files/directories.js';
import { allocatedBytes, isMissing, listDirectory, storeError } from './files/files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { copyPrefix, fleetLayout, overlayEnding, partialEnding } from './layout.js';

/** Overlays to write before yielding to the event loop: about a millisecond of work. */
const stagedAtOnce = 16;
/** sync also writes the data of other processes on the same file system. */
const syncMs = 10 * 60_000;

/** The overlays of fleets. */
export class OverlayDirectory implements OverlayStore {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async sizes(fleet: string): Promise<Map<string, number>> {
    const { overlays } = fleetLayout(this.#root, fleet);
    const names = (await listDirectory(overlays)).filter((name) => name.endsWith(overlayEnding) && !name.startsWith('.'));
    const sizes = await Promise.all(
      names.map(async (name) => {
        const stats = await lstat(join(overlays, name)).catch(() => undefined);
        return stats?.isFile() ? ([name.slice(0, -overlayEnding.length), allocatedBytes(stats)] as const) : undefined;
      }),
    );
    return new Map(sizes.filter((entry) => entry !== undefined));
  }

  async backingFile(fleet: string, stem: string): Promise<string | undefined> {
    const path = join(fleetLayout(this.#root, fleet).overlays, stem + overlayEnding);
    return readBackingName(path).catch((cause: unknown) => {
      if (isMissing(cause)) return undefined;
      throw storeError(`read ${path}`, cause);
    });
  }

  async scratchPath(fleet: string): Promise<string> {
    const { overlays } = fleetLayout(this.#root, fleet);
    await makeDirectory(overlays);
    return scratchName(overlays);
  }

  async stage(fleet: string, stems: readonly string[], image: Buffer): Promise<void> {
    const { directory, overlays } = fleetLayout(this.#root, fleet);
    await makeDirectory(overlays);
    const unlinker = new SafeUnlinker(directory);
    const segments = nonZeroSegments(image);
    const partials = stems.map((stem) => join(overlays, stem + partialEnding));
    try {
      const stale = new Set(
        (await listDirectory(overlays)).filter((name) => name.endsWith(partialEnding)).map((name) => join(overlays, name)),
      );
      for (const [position, path] of partials.entries()) {
        if (stale.has(path)) await unlinker.unlink(path);
        writeImage(path, segments, image.length);
        if (position % stagedAtOnce === 0) await setImmediate();
      }
      // One call for all: an fsync per file costs more than writing them.
      if (stems.length > 0) await runTool('sync', ['--file-system', overlays], { timeoutMs: syncMs });
    } catch (cause) {
      for (const path of partials) await unlinker.unlink(path).catch(() => undefined);
      throw storeError(`write fresh overlays to ${overlays}`, cause);
    }
  }

  async place(fleet: string, stem: string): Promise<void> {
    const { overlays } = fleetLayout(this.#root, fleet);
    const target = join(overlays, stem + overlayEnding);
    try {
      await rename(join(overlays, stem + partialEnding), target);
    } catch (cause) {
      throw storeError(`move the fresh overlay ${target} into place`, cause);
    }
  }

  async measure(fleet: string, image: Buffer): Promise<number> {
    const path = await this.scratchPath(fleet);
    const unlinker = new SafeUnlinker(fleetLayout(this.#root, fleet).directory);
    try {
      writeImage(path, nonZeroSegments(image), image.length);
      return allocatedBytes(await lstat(path));
    } catch (cause) {
      throw storeError(`write ${path}`, cause);
    } finally {
      await unlinker.unlink(path);
    }
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
