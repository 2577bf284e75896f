import type { Readable, Writable } from 'node:stream';

/** Ports of `cowherd dashboard`. */

/** What signs the sessions of browsers. */
export interface SessionKeys {
  /** 32 bytes. */
  secret: Buffer;
  /** The first part of the path of all pages, in hexadecimal. */
  prefix: string;
}

/** A terminal that is connected to the console of a guest. */
export interface ConsoleStream {
  readonly input: Writable;
  /** Bytes of the guest, and messages of virsh. */
  readonly output: Readable;
  /** Resolves once it has ended, for whatever reason. */
  readonly ended: Promise<void>;
  close(): void;
}

export interface DashboardPorts {
  /** Files of the built page by path, e.g. `index.html`; empty if it was not built. */
  pageFiles(): Promise<Map<string, Buffer>>;
  /** Kept in a file of this user; new ones if there is none. `isKept`: whether the next server will find them. */
  sessionKeys(): Promise<SessionKeys & { isKept: boolean }>;
  /** Starts the user's browser without showing the URL to other users. @throws TOOL_MISSING, TOOL_FAILED */
  openBrowser(url: string): Promise<void>;
  /** @param options.force disconnect the user that has it open */
  console(domain: string, options: { force: boolean }): ConsoleStream;
  /** A picture of a running domain's screen: PNG or PPM. @throws TOOL_FAILED, TOOL_TIMEOUT */
  screenshot(domain: string): Promise<Buffer>;
}
