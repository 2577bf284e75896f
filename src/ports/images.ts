import type { BaseImage } from '../core/image/base.js';

export interface ImageInfo {
  format: string;
  virtualBytes: number;
  /** As its header names it; undefined where it stands on nothing. */
  backing?: { path: string; format: string };
  /** Names of internal snapshots and dirty bitmaps: a copy of the disk would lose them. */
  extras: string[];
}

export interface ImageFile {
  path: string;
  format: 'qcow2' | 'raw';
}

export interface ConvertRequest {
  source: ImageFile;
  /** A new file; one that is there is overwritten, and keeps its mode. */
  target: ImageFile;
  /** Write an overlay on this image, with only what differs from it. Left out: everything, in one file. */
  backing?: ImageFile | undefined;
  compress?: boolean | undefined;
  onProgress?: ((percent: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ImageTool {
  version(): Promise<string>;
  /** @param isInUse a guest may write to it meanwhile */
  info(path: string, format: 'qcow2' | 'raw', isInUse?: boolean): Promise<ImageInfo>;
  /** @throws BASE_REFUSED where it is corrupt; @returns a warning where clusters are leaked */
  check(path: string, signal?: AbortSignal): Promise<string | undefined>;
  /** The bytes of a fresh, empty overlay on a base image. @param virtualBytes its size for the guest; left out, as large as that */
  freshOverlay(base: BaseImage, scratchPath: string, virtualBytes?: number): Promise<Buffer>;
  /** Makes a qcow2 image larger that nobody has open; one that is as large already stays as it is. In place. */
  grow(path: string, virtualBytes: number): Promise<void>;
  /** The bytes of a blank qcow2 disk. @param virtualBytes its size for the guest */
  blankDisk(virtualBytes: number, scratchPath: string): Promise<Buffer>;
  /**
   * Makes an overlay stand on another base image, with what the guest sees unchanged: what the two differ in is copied into it.
   * In place; nobody may have it open. One that stands there already stays as it is.
   */
  rebase(overlay: string, base: BaseImage, signal?: AbortSignal): Promise<void>;
  /** Has an overlay name another path as its backing file, which must be the same image: nothing is read or copied. In place. */
  repoint(overlay: string, base: Pick<BaseImage, 'path' | 'format'>): Promise<void>;
  /** Removes an internal snapshot of an image that nobody has open; one that is not there is fine. In place. */
  dropSnapshot(path: string, tag: string): Promise<void>;
  /** Copies the disk that an image and everything below it make. */
  convert(request: ConvertRequest): Promise<void>;
  /** The most bytes that a flattened qcow2 copy of an image can take. */
  measure(image: ImageFile): Promise<number>;
  /** Whether a guest would see the same disk in both, to its last byte and its size. */
  isSameDisk(one: ImageFile, other: ImageFile, signal?: AbortSignal): Promise<boolean>;
}
