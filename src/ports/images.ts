import type { BaseImage } from '../core/image/base.js';
import type { ForeignFormat } from '../core/image/formats/detect.js';
import type { OverlayFormat } from '../core/image/overlay-format.js';

export interface ImageInfo {
  format: string;
  virtualBytes: number;
  /** Backing file in its header; undefined if it has none. */
  backing?: { path: string; format: string };
  /** Names of internal snapshots and dirty bitmaps: a copy of the disk would lose them. */
  extras: string[];
}

export interface ImageFile {
  path: string;
  format: 'qcow2' | 'raw';
}

/** In a format that is only converted from. Its headers must have been checked: opening it may open other files. */
export interface ForeignFile {
  path: string;
  format: ForeignFormat;
}

export interface ConvertRequest {
  source: ImageFile | ForeignFile;
  /** An existing file is overwritten and keeps its mode. */
  target: ImageFile;
  /** Write an overlay with only the differences from this image; default: one standalone file. */
  backing?: ImageFile | undefined;
  /** Of a qcow2 target; default: that of qemu-img. */
  layout?: OverlayFormat | undefined;
  compress?: boolean | undefined;
  /** Largest size of the target's file; without it, there is no limit. */
  maxBytes?: number | undefined;
  onProgress?: ((percent: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ImageTool {
  version(): Promise<string>;
  /** @param isInUse whether a guest may write to it meanwhile */
  info(path: string, format: 'qcow2' | 'raw', isInUse?: boolean): Promise<ImageInfo>;
  /** @throws BASE_REFUSED if it is corrupt; @returns a warning if clusters are leaked */
  check(path: string, signal?: AbortSignal): Promise<string | undefined>;
  /** The bytes of a fresh, empty overlay on a base image. @param virtualBytes virtual size; default: that of the base image */
  freshOverlay(base: BaseImage, scratchPath: string, layout: OverlayFormat, virtualBytes?: number): Promise<Buffer>;
  /** Enlarges a qcow2 image that is not in use; does nothing if it is already as large. In place. */
  grow(path: string, virtualBytes: number): Promise<void>;
  /** The bytes of a blank qcow2 disk. @param virtualBytes virtual size */
  blankDisk(virtualBytes: number, scratchPath: string, layout: OverlayFormat): Promise<Buffer>;
  /** Rebases an overlay onto another base image without changing its content: the differences are copied into it. In place; it must not be in use. Does nothing if it is already based on that image.
   */
  rebase(overlay: string, base: BaseImage, signal?: AbortSignal): Promise<void>;
  /** Changes the path of an overlay's backing file to another path of the same image; no data is read or copied. In place. */
  repoint(overlay: string, base: Pick<BaseImage, 'path' | 'format'>): Promise<void>;
  /** Removes an internal snapshot of an image that is not in use; not an error if it does not exist. In place. */
  dropSnapshot(path: string, tag: string): Promise<void>;
  /** Copies the content of an image with its backing chain. */
  convert(request: ConvertRequest): Promise<void>;
  /** Maximum size of a flattened qcow2 copy of an image, in bytes. */
  measure(image: ImageFile): Promise<number>;
  /** Whether both have the same guest-visible content and size. */
  isSameDisk(one: ImageFile, other: ImageFile, signal?: AbortSignal): Promise<boolean>;
}
