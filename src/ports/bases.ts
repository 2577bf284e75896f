import type { BaseRef } from '../core/fleet/record.js';
import type { BaseImage, BaseLayer, BaseRecord, Seal } from '../core/image/base.js';
import type { ImageDefaults, Prepared, Pulled } from '../core/image/origin.js';
import type { ImportProgress, ProgressListener } from '../core/progress.js';
import type { ImageFile } from './images.js';

export interface ImportRequest {
  path: string;
  format?: 'qcow2' | 'raw' | undefined;
  trustChain: boolean;
  /** QEMU has just closed it on this host: it cannot be a truncated copy. */
  isFromQemu?: boolean | undefined;
  name?: string | undefined;
  /** Of an archive with several disks: the name of the one to import. */
  disk?: string | undefined;
  /** Largest size of what is unpacked, in bytes. */
  maxBytes?: number | undefined;
  /** The path is a complete download in the store, which may be moved instead of copied. */
  download?: { pulled: Omit<Pulled, 'unpacked'> } | undefined;
  /** The path is a base image of the store that came from this download. */
  pulled?: Pulled | undefined;
  /** Of its catalog entry; they take precedence over what is found in the image. */
  defaults?: ImageDefaults | undefined;
  onProgress?: ((progress: ImportProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ImportResult {
  base: BaseImage;
  how: 'reflinked' | 'copied' | 'moved' | 'unpacked' | 'converted' | 'flattened' | 'layered' | 'already there';
  warning?: string;
}

/** The predicted result of an import. */
export interface ImportPreview extends ImportResult {
  /** False for an image that would be unpacked, converted or flattened: its digest is only known after the import. */
  isDigestKnown: boolean;
}

export interface PromotionRequest {
  /** The disk of a stopped member. */
  overlay: string;
  /** Its base image, with the seals compared. */
  base: BaseImage;
  name: string;
  /** Store only the differences, with that base image as backing file. */
  layered: boolean;
  promotedFrom: NonNullable<BaseRecord['promotedFrom']>;
  prepared?: Prepared | undefined;
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
  /** Reports the process that holds the lock. */
  onProgress?: ProgressListener | undefined;
  /** Maximum wait for another run; default ten minutes. For other programs it is a few seconds. */
  waitSeconds?: number | undefined;
  /** Keep leftovers of killed runs, which are removed otherwise. */
  keepLeftovers?: boolean | undefined;
}

export interface BaseStore {
  list(): Promise<{ bases: BaseImage[]; damaged: Array<{ path: string; reason: string }> }>;
  /** @param ref `name`, `name@digest12` or a digest of at least 12 digits; @throws BASE_NOT_FOUND */
  find(ref: string): Promise<BaseImage>;
  /** The image that a record refers to; undefined if it is missing. */
  get(ref: BaseRef): Promise<BaseImage | undefined>;
  import(request: ImportRequest): Promise<ImportResult>;
  /** Predicts the result of {@link import} without writing anything. @throws the same errors */
  preview(request: ImportRequest): Promise<ImportPreview>;
  /** Creates a base image from a member's disk. */
  promote(request: PromotionRequest): Promise<ImportResult>;
  /**
   * Merges an image and its backing images into one file outside the store.
   * @returns bytes on disk;
   * @throws BAD_USAGE if the file exists
   */
  export(request: ExportRequest): Promise<number>;
  /** The current seal of the file; undefined if it is missing. */
  seal(base: BaseLayer): Promise<Seal | undefined>;
  /** Records the current seal of the file. Only after its digest was compared, and under the lock. */
  reseal(base: BaseImage): Promise<void>;
  /** Whether the mode allows any user other than root to write to the file. */
  isWritable(path: string): Promise<boolean>;
  /** Reads the whole file. @returns its sha256 */
  digest(base: BaseLayer, onProgress?: (progress: ImportProgress) => void, signal?: AbortSignal): Promise<string>;
  remove(base: BaseImage): Promise<void>;
  /** Removes leftovers of killed runs. Under the lock. */
  sweep(): Promise<void>;
  /** Runs work while no other run imports or removes base images, so that a fleet can start to use one, or one can be removed, without a race.
   * @throws LOCKED, naming the holder, when the wait is over
   */
  locked<T>(work: () => Promise<T>, options?: BaseLockOptions): Promise<T>;
}
