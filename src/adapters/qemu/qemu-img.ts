import { readFile, rm, stat } from 'node:fs/promises';
import { isAbsolute, normalize } from 'node:path';
import { z } from 'zod';
import { CowherdError } from '../../core/errors.js';
import type { BaseImage } from '../../core/image/base.js';
import { isForeign } from '../../core/image/formats/detect.js';
import { OpenElsewhere } from '../../core/image/open-elsewhere.js';
import type { OverlayFormat } from '../../core/image/overlay-format.js';
import { shellWord } from '../../core/quoting.js';
import type { ConvertRequest, ImageFile, ImageInfo, ImageTool } from '../../ports/images.js';
import { processesWith } from '../host/open-files.js';
import { assertAlone } from '../image/image-files.js';
import { type RunResult, runTool } from '../process.js';

/** For the output of `qemu-img check`, which has a line per damaged cluster. */
const checkBytes = 1024 * 1024;
/** Allows for 4 MB of image per second, although only tables are read. */
const checkBytesPerMs = 4000;

/** check and convert read whole images of tens of gigabytes. */
export const longMs = 60 * 60_000;

const named = z.array(z.object({ name: z.string() })).default([]);
const infoSchema = z.object({
  format: z.string(),
  'virtual-size': z.number().int().nonnegative(),
  'full-backing-filename': z.string().optional(),
  'backing-filename-format': z.string().optional(),
  snapshots: named,
  'format-specific': z.object({ data: z.object({ bitmaps: named }).optional() }).optional(),
});

export class QemuImg implements ImageTool {
  readonly #inherit: () => number[];

  /** @param inherit descriptors of the locks under which images are written, which last until the tool ends */
  constructor(inherit: () => number[] = () => []) {
    this.#inherit = inherit;
  }

  async version(): Promise<string> {
    const { stdout } = await runTool('qemu-img', ['--version']);
    return /version (\S+)/.exec(stdout)?.[1] ?? 'unknown';
  }

  async info(path: string, format: 'qcow2' | 'raw', isInUse = false): Promise<ImageInfo> {
    const share = isInUse ? ['-U'] : [];
    const { stdout } = await explainLock(path, runTool('qemu-img', ['info', ...share, '-f', format, '--output=json', path]));
    return parseImageInfo(stdout);
  }

  async check(path: string, signal?: AbortSignal): Promise<string | undefined> {
    // The tables are small, but those of a hostile image may refer to each other a billion times.
    const { size } = await stat(path).catch(() => ({ size: 0 }));
    const timeoutMs = Math.min(longMs, 60_000 + size / checkBytesPerMs);
    // 2: corrupt, 3: leaked clusters only, 1: the check itself failed.
    const { exitCode, stdout, stderr } = await explainLock(
      path,
      runTool('qemu-img', ['check', '-f', 'qcow2', '--output=json', path], {
        timeoutMs,
        signal,
        acceptedExitCodes: [0, 1, 2, 3],
        keepBytes: checkBytes,
      }),
    );
    if (exitCode === 0) return undefined;
    if (exitCode === 3) return `${path} has leaked clusters: it takes more space than it needs, but is sound`;
    const corruptions = /"corruptions": (\d+)/.exec(stdout)?.[1];
    throw new CowherdError('BASE_REFUSED', `${path} is corrupt${corruptions === undefined ? '' : `: ${corruptions} errors`}`, {
      details: stderr.trim().split('\n').slice(0, 4),
      hint: `Try "qemu-img check -r all ${shellWord(path)}" on a copy of it.`,
    });
  }

  freshOverlay(base: BaseImage, scratchPath: string, layout: OverlayFormat, virtualBytes = 0): Promise<Buffer> {
    const size = virtualBytes > base.virtualBytes ? [String(virtualBytes)] : [];
    return this.#fresh(scratchPath, [...layoutOptions(layout), '-F', base.format, '-b', base.path, scratchPath, ...size]);
  }

  async grow(path: string, virtualBytes: number): Promise<void> {
    await assertAlone(path);
    if ((await this.info(path, 'qcow2')).virtualBytes >= virtualBytes) return;
    await explainLock(path, runTool('qemu-img', ['resize', '-q', '-f', 'qcow2', path, String(virtualBytes)], { inherit: this.#inherit() }));
  }

  blankDisk(virtualBytes: number, scratchPath: string, layout: OverlayFormat): Promise<Buffer> {
    return this.#fresh(scratchPath, [...layoutOptions(layout), scratchPath, String(virtualBytes)]);
  }

  async #fresh(scratchPath: string, what: readonly string[]): Promise<Buffer> {
    await rm(scratchPath, { force: true });
    try {
      await runTool('qemu-img', ['create', '-q', '-f', 'qcow2', ...what]);
      return await readFile(scratchPath);
    } finally {
      await rm(scratchPath, { force: true });
    }
  }

  async rebase(overlay: string, base: BaseImage, signal?: AbortSignal): Promise<void> {
    await assertAlone(overlay);
    await runTool('qemu-img', ['rebase', '-f', 'qcow2', '-F', base.format, '-b', base.path, overlay], {
      timeoutMs: longMs,
      signal,
      inherit: this.#inherit(),
    });
  }

  async repoint(overlay: string, { path, format }: Pick<BaseImage, 'path' | 'format'>): Promise<void> {
    await assertAlone(overlay);
    const args = ['rebase', '-u', '-f', 'qcow2', '-F', format, '-b', path, overlay];
    await explainLock(overlay, runTool('qemu-img', args, { inherit: this.#inherit() }));
  }

  async dropSnapshot(path: string, tag: string): Promise<void> {
    await assertAlone(path);
    const args = ['snapshot', '-d', tag, path];
    await explainLock(path, runTool('qemu-img', args, { timeoutMs: longMs, inherit: this.#inherit() }));
  }

  async convert({ source, target, backing, layout, compress = false, maxBytes, onProgress, signal }: ConvertRequest): Promise<void> {
    const onto = backing === undefined ? [] : ['-B', backing.path, '-F', backing.format];
    const how = [...onto, ...(layout === undefined ? [] : layoutOptions(layout)), ...(compress ? ['-c'] : [])];
    const args = ['convert', '-p', ...sourceArguments(source), '-O', target.format, ...how, sourceName(source), target.path];
    const limit = maxBytes === undefined ? [] : [`--fsize=${maxBytes}`, '--', 'qemu-img'];
    await explainLock(
      source.path,
      runTool(limit.length === 0 ? 'qemu-img' : 'prlimit', [...limit, ...args], {
        timeoutMs: longMs,
        signal,
        inherit: this.#inherit(),
        onStdout: percentOf((percent) => onProgress?.(percent)),
      }),
    );
  }

  async measure({ path, format }: ImageFile): Promise<number> {
    const call = runTool('qemu-img', ['measure', '--output=json', '-f', format, '-O', 'qcow2', path], { timeoutMs: longMs });
    const { stdout } = await explainLock(path, call);
    return z.object({ required: z.number() }).parse(JSON.parse(stdout)).required;
  }

  async isSameDisk(one: ImageFile, other: ImageFile, signal?: AbortSignal): Promise<boolean> {
    // Not strict: strict mode also compares allocation, and treats zeros beyond the end of the smaller image as a difference.
    const sizes = await Promise.all([one, other].map(({ path, format }) => this.info(path, format)));
    if (sizes[0]?.virtualBytes !== sizes[1]?.virtualBytes) return false;
    const args = ['compare', '-q', '-f', one.format, '-F', other.format, one.path, other.path];
    const { exitCode } = await runTool('qemu-img', args, { timeoutMs: longMs, signal, acceptedExitCodes: [0, 1] });
    return exitCode === 0;
  }
}

function sourceArguments({ format }: ConvertRequest['source']): string[] {
  return isForeign(format) ? [] : ['-f', format];
}

/** A foreign file is opened without the parent that its header may name. The size of a VHD is what its footer says, not its geometry. */
function sourceName({ path, format }: ConvertRequest['source']): string {
  if (!isForeign(format)) return path;
  const file = { driver: 'file', filename: path };
  const size = format === 'vpc' ? { force_size_calc: 'current_size' } : {};
  return `json:${JSON.stringify({ driver: format, file, backing: null, ...size })}`;
}

/** A QEMU before 5.2 does not know the name extended_l2, so it is only used if the feature is wanted. */
export function layoutOptions({ clusterBytes, extendedL2 }: OverlayFormat): string[] {
  return ['-o', `cluster_size=${clusterBytes}${extendedL2 ? ',extended_l2=on' : ''}`];
}

/** Reads what `qemu-img -p` prints. */
export function percentOf(onProgress: (percent: number) => void): (chunk: string) => void {
  return (chunk) => {
    const percent = [...chunk.matchAll(/\((\d+(?:\.\d+)?)\/100%\)/g)].at(-1)?.[1];
    if (percent !== undefined) onProgress(Number(percent));
  };
}

/** Reads `qemu-img info --output=json`. */
export function parseImageInfo(stdout: string): ImageInfo {
  const info = infoSchema.parse(JSON.parse(stdout));
  const { 'full-backing-filename': path, 'backing-filename-format': format = 'unknown' } = info;
  return {
    format: info.format,
    virtualBytes: info['virtual-size'],
    // A relative name is reported with the image's directory in front of it: /bases/upper/../golden/…
    ...(path === undefined ? {} : { backing: { path: isAbsolute(path) ? normalize(path) : path, format } }),
    extras: [
      ...info.snapshots.map(({ name }) => `internal snapshot ${name}`),
      ...(info['format-specific']?.data?.bitmaps ?? []).map(({ name }) => `dirty bitmap ${name}`),
    ],
  };
}

/** An image that another process has open is not damaged: the error names the process instead. */
export async function explainLock(path: string, call: Promise<RunResult>): Promise<RunResult> {
  const isLocked = (text: string): boolean => /Failed to get .*lock/.test(text);
  try {
    const result = await call;
    if (isLocked(result.stderr)) throw new OpenElsewhere(path, await processesWith(path));
    return result;
  } catch (error) {
    if (error instanceof CowherdError && isLocked(error.message)) throw new OpenElsewhere(path, await processesWith(path), error);
    throw error;
  }
}
