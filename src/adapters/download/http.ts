import type { SecureContext } from 'node:tls';
import type { Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import { isTransientStatus, parseRetryAfter } from '../../core/image/download/retry.js';
import { type Address, redirectTarget } from '../../core/image/download/url.js';
import { AttemptFailure, connectionFailure, statusFailure } from './failures.js';
import type { DownloadLimits } from './limits.js';
import { proxiesOfEnvironment } from './proxies.js';

export interface HttpRequest {
  method: 'GET' | 'HEAD';
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** A reply of which only the head was read. */
export interface Reply {
  status: number;
  /** After redirects, with the login only if it is for that server. */
  address: Address;
  header(name: string): string | undefined;
  /** @throws AttemptFailure */
  chunks(): AsyncGenerator<Buffer>;
  /** Stops reading. */
  discard(): void;
}

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** Between the connection and cowherd, in bytes. */
const bufferedBytes = 256 * 1024;

type Undici = { EnvHttpProxyAgent: typeof EnvHttpProxyAgent; request: typeof request };

/** HTTP and HTTPS through the proxies of the environment. Connections are kept until it is closed. */
export class HttpClient {
  readonly #request: typeof request;
  readonly #agent: EnvHttpProxyAgent;
  readonly #limits: DownloadLimits;

  /** @throws BAD_USAGE for an invalid proxy */
  static async connect(trust: SecureContext, limits: DownloadLimits): Promise<HttpClient> {
    // Large, and most commands do not need it. A CommonJS package: bundled, it only has a default export.
    const { default: undici } = await import('undici');
    return new HttpClient(undici, trust, limits);
  }

  private constructor(undici: Undici, trust: SecureContext, limits: DownloadLimits) {
    const { connectMs, idleMs } = limits;
    const connect = { secureContext: trust, timeout: connectMs };
    this.#limits = limits;
    this.#request = undici.request;
    this.#agent = new undici.EnvHttpProxyAgent({
      ...proxiesOfEnvironment(),
      ...{ connect, requestTls: connect, proxyTls: connect },
      ...{ headersTimeout: idleMs, bodyTimeout: idleMs },
      // Proxies usually refuse tunnels to port 80.
      proxyTunnel: false,
    });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /**
   * Follows redirects. The caller must read or discard the reply.
   * @throws AttemptFailure, also for an encoded body and too many redirects, but not for an error status
   */
  async open(from: Address, options: HttpRequest): Promise<Reply> {
    let address = from;
    for (let count = 0; count <= this.#limits.redirects; count += 1) {
      const reply = await this.#send(address, options);
      const location = reply.header('location');
      if (!redirects.has(reply.status) || location === undefined) {
        const encoding = reply.header('content-encoding') ?? 'identity';
        // That of an error page does not matter.
        if (encoding.toLowerCase() === 'identity' || reply.status >= 300) return reply;
        reply.discard();
        throw new AttemptFailure('the server compresses the file, although it was told not to', { isTransient: false, hint: encodingHint });
      }
      reply.discard();
      const target = redirectTarget(address.url, location);
      if (typeof target === 'string') throw new AttemptFailure(target, { isTransient: false });
      address = { url: target, credentials: target.origin === address.url.origin ? address.credentials : undefined };
    }
    throw new AttemptFailure(`the server redirects more than ${this.#limits.redirects} times`, { isTransient: false });
  }

  async #send(address: Address, { method, headers, signal }: HttpRequest): Promise<Reply> {
    const { connectMs, idleMs } = this.#limits;
    // Also covers what undici does not limit, such as the reply of a proxy.
    const deadline = new AbortController();
    const expire = (): void => deadline.abort(new AttemptFailure('there was no reply in time', { isTransient: true }));
    const timer = setTimeout(expire, connectMs + idleMs);
    try {
      const response = await this.#request(address.url, {
        ...{ dispatcher: this.#agent, method, headersTimeout: idleMs, bodyTimeout: idleMs, highWaterMark: bufferedBytes },
        signal: signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]),
        headers: { 'user-agent': 'cowherd', accept: '*/*', 'accept-encoding': 'identity', ...headers, ...authorization(address) },
      });
      return replyOf(address, response);
    } catch (error) {
      signal?.throwIfAborted();
      throw connectionFailure(error);
    } finally {
      clearTimeout(timer);
    }
  }
}

const encodingHint = 'Download the file with curl or a browser, and add it to the store: cowherd base add FILE';

function authorization({ credentials }: Address): Record<string, string> {
  return credentials === undefined ? {} : { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` };
}

function replyOf(address: Address, { statusCode, headers, body }: Dispatcher.ResponseData): Reply {
  // Data may arrive, or the connection end, after the last reader has left.
  body.on('error', () => undefined);
  return {
    status: statusCode,
    address,
    header(name) {
      const value = headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    async *chunks() {
      try {
        for await (const chunk of body) yield chunk as Buffer;
      } catch (error) {
        throw connectionFailure(error);
      }
    },
    discard: () => void body.destroy(),
  };
}

/** @throws AttemptFailure for an error status */
export function assertSuccess(reply: Reply): void {
  const { status } = reply;
  if (status >= 200 && status < 300) return;
  reply.discard();
  throw statusFailure(status, isTransientStatus(status), parseRetryAfter(reply.header('retry-after'), Date.now()));
}
