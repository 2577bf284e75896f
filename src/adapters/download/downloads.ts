import type { SecureContext } from 'node:tls';
import { parseContentRange, parseLength } from '../../core/image/download/ranges.js';
import { validatorsOf } from '../../core/image/download/reply.js';
import { type Address, parseAddress, shownUrl } from '../../core/image/download/url.js';
import type {
  Download,
  DownloadRequest,
  Downloads,
  RemoteFile,
  SignatureCheck,
  SignatureResult,
  TextRequest,
} from '../../ports/downloads.js';
import type { LockPolicy } from '../store/lock.js';
import { DownloadCache } from './cache.js';
import { AttemptFailure } from './failures.js';
import { Fetch } from './fetch.js';
import { assertSuccess, HttpClient, type Reply } from './http.js';
import { type DownloadLimits, downloadLimits } from './limits.js';
import { retried } from './retried.js';
import { checkSignature } from './signature.js';
import { systemTrust } from './tls-roots.js';
import { bytesText } from './verdicts.js';

/** A server may refuse HEAD although it serves the file: signed URLs are only valid for one method. */
const headRefusals: ReadonlySet<number> = new Set([403, 405, 501]);

/** Downloads over HTTP into the store. */
export class HttpDownloads implements Downloads {
  readonly #cache: DownloadCache;
  readonly #limits: DownloadLimits;
  #trust: Promise<SecureContext> | undefined;

  constructor(root: string, locking: LockPolicy = {}, limits: DownloadLimits = downloadLimits) {
    this.#cache = new DownloadCache(root, locking);
    this.#limits = limits;
  }

  async probe(text: string, signal?: AbortSignal): Promise<RemoteFile> {
    const address = parseAddress(text);
    const limits = this.#limits;
    return this.#connected((client) => retried(() => probeOnce(client, address, signal), { url: address.url, limits, signal }));
  }

  async text({ url: text, maxBytes, signal }: TextRequest): Promise<{ url: string; bytes: Buffer }> {
    const address = parseAddress(text);
    const limits = this.#limits;
    const attempt = async (client: HttpClient): Promise<{ url: string; bytes: Buffer }> => {
      const deadline = new AbortController();
      const expire = (): void => deadline.abort(new AttemptFailure('it took too long', { isTransient: true }));
      const timer = setTimeout(expire, limits.textMs);
      const either = signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]);
      try {
        const reply = await client.open(address, { method: 'GET', signal: either });
        assertSuccess(reply);
        return { url: shownUrl(reply.address.url), bytes: await readText(reply, maxBytes) };
      } finally {
        clearTimeout(timer);
      }
    };
    return this.#connected((client) => retried(() => attempt(client), { url: address.url, limits, signal }));
  }

  async locked<T>(
    url: string,
    work: () => Promise<T>,
    options: { signal?: AbortSignal | undefined; onNote?: (text: string) => void } = {},
  ): Promise<T> {
    return this.#cache.locked(parseAddress(url).url, work, options);
  }

  async fetch(request: DownloadRequest): Promise<Download> {
    return this.#connected((client) => Fetch.run({ cache: this.#cache, client, limits: this.#limits }, request));
  }

  async discard(url: string): Promise<void> {
    await this.#cache.remove(parseAddress(url).url);
  }

  leftovers({ remove }: { remove: boolean }): Promise<{ files: number; bytes: number }> {
    return this.#cache.leftovers(remove);
  }

  checkSignature(check: SignatureCheck): Promise<SignatureResult> {
    return checkSignature(check);
  }

  /** Connections end with the work, so that they keep no process alive. */
  async #connected<T>(work: (client: HttpClient) => Promise<T>): Promise<T> {
    this.#trust ??= systemTrust();
    const client = await HttpClient.connect(await this.#trust, this.#limits);
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  }
}

async function probeOnce(client: HttpClient, address: Address, signal: AbortSignal | undefined): Promise<RemoteFile> {
  let reply = await client.open(address, { method: 'HEAD', signal });
  reply.discard();
  if (headRefusals.has(reply.status)) {
    reply = await client.open(address, { method: 'GET', headers: { range: 'bytes=0-0' }, signal });
    reply.discard();
  }
  // An empty file has no first byte.
  if (reply.status !== 416) assertSuccess(reply);
  const { etag, lastModified } = validatorsOf(reply);
  const isPart = reply.status === 206 || reply.status === 416;
  const bytes = isPart ? parseContentRange(reply.header('content-range'))?.total : parseLength(reply.header('content-length'));
  return { url: shownUrl(reply.address.url), bytes, etag, lastModified };
}

async function readText(reply: Reply, maxBytes: number): Promise<Buffer> {
  const length = parseLength(reply.header('content-length'));
  const chunks: Buffer[] = [];
  let bytes = 0;
  const assertShort = (count: number): void => {
    if (count <= maxBytes) return;
    throw new AttemptFailure(`it is larger than ${bytesText(maxBytes)}`, { isTransient: false, hint: largeTextHint });
  };
  assertShort(length ?? 0);
  for await (const chunk of reply.chunks()) {
    bytes += chunk.length;
    assertShort(bytes);
    chunks.push(chunk);
  }
  if (length !== undefined && bytes < length) {
    throw new AttemptFailure(`the connection ended after ${bytesText(bytes)} of ${bytesText(length)}`, { isTransient: true });
  }
  return Buffer.concat(chunks);
}

const largeTextHint = 'Check the URL: it must be that of a list, not of an image.';
