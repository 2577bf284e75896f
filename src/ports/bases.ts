import type { BaseRef } from '../core/fleet/record.js';
import type { BaseImage, BaseLayer, BaseRecord, Seal } from '../core/image/base.js';
import type { ProgressListener } from '../core/progress.js';
import type { ImageFile } from './images.js';

export interface ImportProgress {
  doneBytes: number;
  totalBytes: number;
}

export interface ImportRequest {
  path: string;
  format?: 'qcow2' | 'raw' | undefined;
  trustChain: boolean;
  name?: string | undefined;
  onProgress?: ((progress: ImportProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ImportResult {
  base: BaseImage;
  how: 'reflinked' | 'copied' | 'flattened' | 'layered' | 'already there';
  warning?: string;
}

/** What an import would come to. */
export interface ImportPreview extends ImportResult {
  /** False for an image that would be flattened: only the import itself shows what that gives. */
  isDigestKnown: boolean;
}

export interface PromotionRequest {
  /** The disk of a member that is off. */
  overlay: string;
  /** What it stands on, with its seals compared. */
  base: BaseImage;
  name: string;
  /** Stand on that base image, with only what differs from it. */
  layered: boolean;
  promotedFrom: NonNullable<BaseRecord['promotedFrom']>;
  onProgress?: ((progress: ImportProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ExportRequest {
  base: BaseImage;
  target: ImageFile;
  compress: boolean;
  onProgress?: ((percent: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface BaseLockOptions {
  signal?: AbortSignal | undefined;
  /** Told which process is waited for. */
  onProgress?: ProgressListener | undefined;
  /** How long to wait for another run; ten minutes where it is left out. For other programs it is seconds. */
  waitSeconds?: number | undefined;
  /** Leave what killed runs left, which is removed otherwise. */
  keepLeftovers?: boolean | undefined;
}

export interface BaseStore {
  list(): Promise<{ bases: BaseImage[]; damaged: Array<{ path: string; reason: string }> }>;
  /** @param ref `name`, `name@digest12` or a digest of at least 12 digits; @throws BASE_NOT_FOUND */
  find(ref: string): Promise<BaseImage>;
  /** The one that a record means; undefined where it is gone. */
  get(ref: BaseRef): Promise<BaseImage | undefined>;
  import(request: ImportRequest): Promise<ImportResult>;
  /** What {@link import} would come to, with nothing written. @throws as it would */
  preview(request: ImportRequest): Promise<ImportPreview>;
  /** Makes a base image of a member's disk. */
  promote(request: PromotionRequest): Promise<ImportResult>;
  /** Writes it with all that is below it to one file outside the store. @returns bytes on disk; @throws BAD_USAGE where it exists */
  export(request: ExportRequest): Promise<number>;
  /** What the file looks like now; undefined where it is gone. */
  seal(base: BaseLayer): Promise<Seal | undefined>;
  /** Takes the file as it is now for what was imported: only where its digest was compared. Under the lock. */
  reseal(base: BaseImage): Promise<void>;
  /** Whether its mode lets anybody write to the file, root apart. */
  isWritable(path: string): Promise<boolean>;
  /** Reads the whole file again. @returns its sha256 */
  digest(base: BaseLayer, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string>;
  remove(base: BaseImage): Promise<void>;
  /** Removes what runs that were killed have left. Under the lock. */
  sweep(): Promise<void>;
  /**
   * Runs while no base image is imported or removed: lets a fleet bind itself to one, or one be removed, without a race.
   * @throws LOCKED, naming the holder, after a while
   */
  locked<T>(work: () => Promise<T>, options?: BaseLockOptions): Promise<T>;
}
