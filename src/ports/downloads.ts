import type { ImportProgress } from '../core/progress.js';

/** What a server says about a file. */
export interface RemoteFile {
  /** After redirects; without a password. */
  url: string;
  /** Undefined if the server does not say. */
  bytes?: number | undefined;
  etag?: string | undefined;
  lastModified?: string | undefined;
}

/** A complete download in the store. */
export interface Download extends RemoteFile {
  path: string;
  bytes: number;
  sha256: string;
  /** Computed only if it was asked for. */
  sha512?: string | undefined;
}

export interface DownloadRequest {
  /** http or https. */
  url: string;
  /** Digests that the content must have; both if both are given. */
  expected?: { sha256?: string | undefined; sha512?: string | undefined } | undefined;
  maxBytes: number;
  onProgress?: ((progress: ImportProgress) => void) | undefined;
  /** Reports retries, and that an earlier download continues. */
  onNote?: ((text: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface TextRequest {
  url: string;
  maxBytes: number;
  signal?: AbortSignal | undefined;
}

export interface SignatureCheck {
  /** The list, or a text that contains list and signature (clear-signed). */
  signed: Buffer;
  /** A separate signature, binary or armored. */
  signature?: Buffer | undefined;
  /** Files with public keys, binary or armored, that may be on this host; missing ones are skipped. */
  keyrings: readonly string[];
}

export type SignatureResult =
  /** @param text what was signed */
  | { verdict: 'good'; key: string; text: string }
  /** It is wrong or missing, although this host has gpgv and keys to check it. */
  | { verdict: 'bad'; why: string }
  /** gpgv or all of the keyrings are not on this host. */
  | { verdict: 'unknown'; why: string };

export interface Downloads {
  /** Follows redirects and reads no content. @throws DOWNLOAD_FAILED, BAD_USAGE for an URL that is not http or https */
  probe(url: string, signal?: AbortSignal): Promise<RemoteFile>;
  /** @returns a small file. @throws DOWNLOAD_FAILED, also if it is too large */
  text(request: TextRequest): Promise<{ url: string; bytes: Buffer }>;
  /**
   * Runs work while no other run downloads from this URL, here or in another process.
   * @throws LOCKED
   */
  locked<T>(
    url: string,
    work: () => Promise<T>,
    options?: { signal?: AbortSignal | undefined; onNote?: (text: string) => void },
  ): Promise<T>;
  /**
   * Downloads a file, or continues an earlier download of it. Under {@link locked}. A part stays for the next run if the network or the
   * user ended the download; it is removed if it is wrong or the disk is full.
   * @throws DOWNLOAD_FAILED, BASE_REFUSED if it does not have the expected digests or is a web page, PREFLIGHT_FAILED without space, INTERRUPTED
   */
  fetch(request: DownloadRequest): Promise<Download>;
  /** Removes what is there of a download. Under {@link locked}. */
  discard(url: string): Promise<void>;
  /** Bytes that unfinished downloads take, without those of other runs; `remove` removes them. */
  leftovers(options: { remove: boolean }): Promise<{ files: number; bytes: number }>;
  checkSignature(check: SignatureCheck): Promise<SignatureResult>;
}
