import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HttpDownloads } from '../../../src/adapters/download/downloads.js';
import { type DownloadLimits, downloadLimits } from '../../../src/adapters/download/limits.js';
import { retryRules } from '../../../src/core/image/download/retry.js';
import type { Download, DownloadRequest } from '../../../src/ports/downloads.js';
import { FileServer } from '../../support/download/file-server.js';

/** Pauses of milliseconds, and little progress counts. */
export const fastLimits: DownloadLimits = {
  ...downloadLimits,
  connectMs: 2000,
  idleMs: 300,
  textMs: 5000,
  retry: { ...retryRules, firstPauseMs: 1, maxPauseMs: 50, progressBytes: 64 * 1024 },
};

/** A store in a temporary directory, and a server. */
export class DownloadLab {
  readonly notes: string[] = [];

  private constructor(
    readonly store: string,
    readonly server: FileServer,
    readonly downloads: HttpDownloads,
  ) {}

  static async open(limits: Partial<DownloadLimits> = {}): Promise<DownloadLab> {
    const store = await mkdtemp(join(tmpdir(), 'cwt-download-'));
    return new DownloadLab(store, await FileServer.start(), new HttpDownloads(store, {}, { ...fastLimits, ...limits }));
  }

  fetch(url: string, request: Partial<DownloadRequest> = {}): Promise<Download> {
    const onNote = (text: string): void => void this.notes.push(text);
    return this.downloads.fetch({ url, maxBytes: 1024 ** 3, onNote, ...request });
  }

  /** The error of a download. */
  async refusal(url: string, request: Partial<DownloadRequest> = {}): Promise<{ code: string; message: string; hint: string }> {
    const error = await this.fetch(url, request).then(
      () => new Error('it did not fail'),
      (reason: Error) => reason,
    );
    const { code, message, hint } = error as Error & { code: string; hint: string };
    return { code, message, hint };
  }

  /** File names in the directory of downloads. */
  async files(): Promise<string[]> {
    return (await readdir(join(this.store, 'downloads')).catch(() => [])).sort();
  }

  async close(): Promise<void> {
    await this.server.close();
    await rm(this.store, { recursive: true, force: true });
  }
}
