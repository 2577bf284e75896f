import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { CowherdError } from '../../core/errors.js';
import { formerOverlayFormat } from '../../core/image/overlay-format.js';
import type { DiskFormat, ImageRef } from '../../core/snapshot/snapshot.js';
import type { SnapshotOverlays } from '../../ports/index.js';
import { syncFile } from '../image/disk-files.js';
import { runTool } from '../process.js';
import { storeError } from '../store/files/files.js';
import { explainLock, layoutOptions, longMs, parseImageInfo, percentOf } from './qemu-img.js';

const linkSchema = z.object({
  'full-backing-filename': z.string().optional(),
  'backing-filename': z.string().optional(),
  'backing-filename-format': z.string().optional(),
  'format-specific': z.object({ data: z.object({ 'data-file': z.string().optional() }).optional() }).optional(),
});

export class QemuSnapshotOverlays implements SnapshotOverlays {
  readonly #inherit: () => number[];

  /** @param inherit descriptors of locks, which running tools keep held if this process is killed */
  constructor(inherit: () => number[]) {
    this.#inherit = inherit;
  }

  async create(path: string, backing: ImageRef, signal?: AbortSignal): Promise<void> {
    // These domains have no spec of cowherd that could name another format.
    const args = ['create', '-q', '-f', 'qcow2', ...layoutOptions(formerOverlayFormat), '-F', backing.format, '-b', backing.path, path];
    try {
      // Like the overlays of fleets: libvirt gives it to QEMU's user at the start. qemu-img would create it world-readable.
      const handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
      await handle.chmod(0o600).finally(() => handle.close());
      await runTool('qemu-img', args, { signal, inherit: this.#inherit() });
      await syncFile(path);
      await syncFile(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (cause) {
      throw storeError(`write ${path} to the disk`, cause);
    }
  }

  async backing({ path, format }: ImageRef): Promise<{ path: string; format: string | undefined } | undefined> {
    // One link at a time, each with its recorded format: with --backing-chain, qemu-img probes formats that are not recorded.
    const { stdout } = await runTool('qemu-img', ['info', '-f', format, '-U', '--output=json', path]);
    const link = linkSchema.parse(JSON.parse(stdout));
    if (link['format-specific']?.data?.['data-file'] !== undefined) {
      throw new CowherdError('BASE_REFUSED', `${path} keeps its data in an external file`, {
        hint: 'Convert it with "qemu-img convert" first.',
      });
    }
    const below = link['full-backing-filename'] ?? link['backing-filename'];
    return below === undefined ? undefined : { path: below.replace(/^file:/, ''), format: link['backing-filename-format'] };
  }

  async virtualBytes(path: string, format: DiskFormat): Promise<number> {
    const { stdout } = await runTool('qemu-img', ['info', '-f', format, '-U', '--output=json', path]);
    return parseImageInfo(stdout).virtualBytes;
  }

  async commit(overlay: string, onProgress: (percent: number) => void, signal?: AbortSignal): Promise<void> {
    // -d keeps the overlay's content, so that the domain sees the same disk until it is switched.
    const args = ['commit', '-p', '-f', 'qcow2', '-t', 'writeback', '-d', overlay];
    await explainLock(
      overlay,
      runTool('qemu-img', args, { timeoutMs: longMs, signal, inherit: this.#inherit(), onStdout: percentOf(onProgress) }),
    );
  }
}
