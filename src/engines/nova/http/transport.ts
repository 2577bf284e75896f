import { type ClientRequest, type IncomingMessage, Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** One HTTP request on its way: sends it once, with limits of time and size. */

export interface HttpRequest {
  method: string;
  url: URL;
  headers: Record<string, string>;
  /** Text, or a stream that is read once. */
  body?: string | Readable;
  /** ms without any progress, and ms in total; a stream has no total. */
  idleMs: number;
  totalMs: number;
  /** Bytes of the reply. */
  maxBytes: number;
  /** Whether it may use a kept-alive connection, which the server may close at the same moment. */
  isReusing: boolean;
  signal?: AbortSignal | undefined;
}

export interface HttpReply {
  status: number;
  headers: Record<string, string | undefined>;
  body: string;
}

export type FailureKind = 'not-sent' | 'lost' | 'timeout' | 'tls' | 'too-large' | 'aborted';

/** Why there is no reply. The message names no URL and no header. */
export class TransportFailure extends Error {
  constructor(
    readonly kind: FailureKind,
    message: string,
    /** Whether the server may have received the request. */
    readonly wasSent: boolean,
  ) {
    super(message);
    this.name = 'TransportFailure';
  }
}

export interface TlsMaterial {
  isVerified: boolean;
  /** PEM texts. */
  ca?: string;
  cert?: string;
  key?: string;
}

export class Transport {
  readonly #plain: PlainAgent;
  readonly #tls: TlsAgent;
  readonly #material: { rejectUnauthorized: boolean; ca?: string; cert?: string; key?: string };

  constructor({ isVerified, ...pem }: TlsMaterial, { maxSockets = 64 }: { maxSockets?: number } = {}) {
    this.#material = { rejectUnauthorized: isVerified, ...pem };
    this.#plain = new PlainAgent({ keepAlive: true, maxSockets });
    this.#tls = new TlsAgent({ keepAlive: true, maxSockets, ...this.#material });
  }

  close(): void {
    this.#plain.destroy();
    this.#tls.destroy();
  }

  /** @throws TransportFailure */
  send(request: HttpRequest): Promise<HttpReply> {
    if (request.signal?.aborted === true) return Promise.reject(new TransportFailure('aborted', 'canceled', false));
    return new Promise((resolve, reject) => new Exchange(this.#start(request), request, resolve, reject));
  }

  #start({ method, url, headers, isReusing }: HttpRequest): ClientRequest {
    const common = { method, headers };
    if (url.protocol !== 'https:') return plainRequest(url, { ...common, agent: isReusing ? this.#plain : false });
    return tlsRequest(url, { ...common, ...this.#material, agent: isReusing ? this.#tls : false });
  }
}

/** One attempt: settles once, and then stops its timers. */
class Exchange {
  #wasSent = false;
  #isSettled = false;
  readonly #total: NodeJS.Timeout | undefined;
  readonly #abort = (): void => this.#fail(new TransportFailure('aborted', 'canceled', this.#wasSent));

  constructor(
    private readonly request: ClientRequest,
    private readonly asked: HttpRequest,
    private readonly resolve: (reply: HttpReply) => void,
    private readonly reject: (reason: unknown) => void,
  ) {
    const { body, idleMs, totalMs, signal } = asked;
    const isStream = typeof body === 'object';
    this.#total = isStream ? undefined : setTimeout(() => this.#timeOut(totalMs), totalMs);
    signal?.addEventListener('abort', this.#abort);
    request.setTimeout(idleMs, () => this.#timeOut(idleMs));
    request.on('socket', (socket) => {
      // A kept-alive connection: its events are over.
      if (!socket.connecting) this.#wasSent = true;
      else
        socket.once('encrypted' in socket ? 'secureConnect' : 'connect', () => {
          this.#wasSent = true;
        });
    });
    request.on('error', (error: NodeJS.ErrnoException) => this.#fail(failureOf(error, this.#wasSent)));
    request.on('response', (response) => {
      this.#read(response).catch((error: unknown) => this.#fail(failureOf(error, true)));
    });
    if (isStream) pipeline(body, request).catch((error: unknown) => this.#fail(failureOf(error, this.#wasSent)));
    else request.end(body);
  }

  #timeOut(ms: number): void {
    this.#fail(new TransportFailure('timeout', `no reply within ${Math.round(ms / 1000)} s`, this.#wasSent));
  }

  async #read(response: IncomingMessage): Promise<void> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response) {
      length += chunk.length;
      if (length > this.asked.maxBytes)
        throw new TransportFailure('too-large', `the reply is larger than ${this.asked.maxBytes} bytes`, true);
      chunks.push(chunk);
    }
    if (!response.complete) throw new TransportFailure('lost', 'the connection was closed in the middle of the reply', true);
    if (!this.#settle()) return;
    const headers = Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, [value].flat().join(', ')]));
    this.resolve({ status: response.statusCode ?? 0, headers, body: Buffer.concat(chunks).toString('utf8') });
    // An upload may still be running although the server has replied.
    if (!this.request.writableFinished) this.request.destroy();
  }

  #fail(failure: TransportFailure): void {
    if (!this.#settle()) return;
    this.reject(failure);
    this.request.destroy();
    if (typeof this.asked.body === 'object') this.asked.body.destroy();
  }

  #settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    clearTimeout(this.#total);
    this.asked.signal?.removeEventListener('abort', this.#abort);
    return true;
  }
}

const tlsCodes = /^(ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|ERR_SSL|ERR_OSSL|EPROTO|HOSTNAME_MISMATCH)/;

function failureOf(error: unknown, wasSent: boolean): TransportFailure {
  if (error instanceof TransportFailure) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (tlsCodes.test(code)) return new TransportFailure('tls', `TLS failed (${code})`, false);
  return wasSent
    ? new TransportFailure('lost', `the connection was lost${code === '' ? '' : ` (${code})`}`, true)
    : new TransportFailure('not-sent', `no connection${code === '' ? '' : ` (${code})`}`, false);
}
