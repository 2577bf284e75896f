import { readFile, rm } from 'node:fs/promises';
import { z } from 'zod';
import type { BaseImage } from '../core/base.js';
import { CowherdError } from '../core/errors.js';
import type { ImageInfo, ImageTool } from '../ports.js';
import { type RunResult, runTool } from './process.js';

/** A disk image of tens of gigabytes is read whole by check and convert. */
export const longMs = 60 * 60_000;

const infoSchema = z.object({ format: z.string(), 'virtual-size': z.number().int().nonnegative() });

export class QemuImg implements ImageTool {
  async version(): Promise<string> {
    const { stdout } = await runTool('qemu-img', ['--version']);
    return /version (\S+)/.exec(stdout)?.[1] ?? 'unknown';
  }

  async info(path: string, format: 'qcow2' | 'raw'): Promise<ImageInfo> {
    const { stdout } = await explainLock(path, runTool('qemu-img', ['info', '-f', format, '--output=json', path]));
    return parseImageInfo(stdout);
  }

  async check(path: string, signal?: AbortSignal): Promise<string | undefined> {
    // 2: corrupt, 3: leaked clusters only, 1: the check itself failed.
    const { exitCode, stdout, stderr } = await explainLock(
      path,
      runTool('qemu-img', ['check', '-f', 'qcow2', '--output=json', path], { timeoutMs: longMs, signal, acceptedExitCodes: [0, 1, 2, 3] }),
    );
    if (exitCode === 0) return undefined;
    if (exitCode === 3) return `${path} has leaked clusters: it takes more space than it needs, but is sound`;
    const corruptions = /"corruptions": (\d+)/.exec(stdout)?.[1];
    throw new CowherdError('BASE_REFUSED', `${path} is corrupt${corruptions === undefined ? '' : `: ${corruptions} errors`}`, {
      details: stderr.trim().split('\n').slice(0, 4),
      hint: `Try "qemu-img check -r all ${path}" on a copy of it.`,
    });
  }

  async freshOverlay(base: BaseImage, scratchPath: string): Promise<Buffer> {
    await rm(scratchPath, { force: true });
    try {
      await runTool('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', base.format, '-b', base.path, scratchPath]);
      return await readFile(scratchPath);
    } finally {
      await rm(scratchPath, { force: true });
    }
  }

  async flatten(source: string, target: string, onProgress: (percent: number) => void, signal?: AbortSignal): Promise<void> {
    await runTool('qemu-img', ['convert', '-p', '-f', 'qcow2', '-O', 'qcow2', source, target], {
      timeoutMs: longMs,
      signal,
      onStdout: percentOf(onProgress),
    });
  }
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
  return { format: info.format, virtualBytes: info['virtual-size'] };
}

export async function explainLock(path: string, call: Promise<RunResult>): Promise<RunResult> {
  const refuse = (cause?: unknown): CowherdError =>
    new CowherdError('BASE_REFUSED', `${path} is being written to by another process`, {
      hint: 'Shut down the virtual machine that uses it first.',
      cause,
    });
  try {
    const result = await call;
    if (/Failed to get .*lock/.test(result.stderr)) throw refuse();
    return result;
  } catch (error) {
    if (error instanceof CowherdError && /Failed to get .*lock/.test(error.message)) throw refuse(error);
    throw error;
  }
}
