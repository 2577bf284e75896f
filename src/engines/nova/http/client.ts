import type { Readable } from 'node:stream';
import pLimit, { type LimitFunction } from 'p-limit';
import type { z } from 'zod';
import type { CowherdError } from '../../../core/errors.js';
import type { Clock } from '../../../ports/machine.js';
import { apiError, UncertainError } from '../core/api-error.js';
import { computeRoot, imageRoot, networkRoot } from '../core/catalog.js';
import { negotiateMicroversion, versionDocumentSchema } from '../core/microversion.js';
import type { Repetition, RetryLimits } from '../core/retry.js';
import { type Secret, withoutSecrets } from '../core/secret.js';
import type { CloudSettings, ServiceType } from '../core/settings.js';
import { RequestCounter, type RequestCounts } from './counter.js';
import { connectionError, unexpectedReply } from './failures.js';
import { orAborted, type RequestEvent, Retrier, type Sent } from './retrier.js';
import { parseJson, Session } from './session.js';
import { type HttpReply, type HttpRequest, type TlsMaterial, Transport, TransportFailure } from './transport.js';

export interface ClientOptions {
  clock: Clock;
  /** Requests in flight at most. Default: 8. */
  concurrency?: number;
  limits?: RetryLimits;
  random?: () => number;
  /** ms for one reply. Default: 60,000. */
  timeoutMs?: number;
  onRequest?: (event: RequestEvent) => void;
}

/** One call of an API. */
export interface Call<T> {
  service: ServiceType;
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Segments of the path below the version, encoded here. */
  path: readonly string[];
  query?: URLSearchParams;
  /** Sent as JSON. */
  body?: unknown;
  /** Sent as it is; opened anew for each attempt. */
  upload?: { open(): Readable; bytes: number };
  contentType?: string;
  /** Parts of the body that no message may repeat: an error reply may quote a value that it refuses. */
  secrets?: readonly Secret[];
  repetition: Repetition;
  /** For messages: "create server lab-1". */
  action: string;
  /** For counts and traces: the path with {id} in place of ids. */
  route: string;
  schema: z.ZodType<T>;
  signal?: AbortSignal | undefined;
  maxBytes?: number;
}

const maxReplyBytes = 32 * 1024 * 1024;

/** The APIs of one cloud, for one user and project: login, endpoints, versions, repetition, limits. */
export class CloudClient {
  readonly session: Session;
  readonly #retrier: Retrier;
  readonly #transport: Transport;
  readonly #slots: LimitFunction;
  readonly #counter = new RequestCounter();
  readonly #timeoutMs: number;
  #microversion: Promise<string> | undefined;

  constructor(
    readonly settings: CloudSettings,
    tls: TlsMaterial,
    { clock, concurrency = 8, limits, random, timeoutMs = 60_000, onRequest }: ClientOptions,
  ) {
    this.#transport = new Transport(tls);
    this.#slots = pLimit(concurrency);
    this.#timeoutMs = timeoutMs;
    this.#retrier = new Retrier(this.#transport, {
      clock,
      ...(limits === undefined ? {} : { limits }),
      ...(random === undefined ? {} : { random }),
      onRequest: (event) => {
        this.#counter.add(event);
        onRequest?.(event);
      },
    });
    this.session = new Session(settings, this.#retrier, clock);
  }

  get counts(): RequestCounts {
    return this.#counter.counts;
  }

  /** Closes kept-alive connections. */
  close(): void {
    this.#transport.close();
  }

  /** The Compute microversion in use. @throws NOT_SUPPORTED, and like call */
  microversion(signal?: AbortSignal): Promise<string> {
    if (this.#microversion === undefined) {
      // Without the signal, since other calls wait for it, too.
      const found = this.#slots(() => this.#negotiate());
      this.#microversion = found;
      found.catch(() => {
        if (this.#microversion === found) this.#microversion = undefined;
      });
    }
    return orAborted(this.#microversion, signal);
  }

  /**
   * @throws ApiError for an error reply; UncertainError if an unsafe call may have been done; CONNECTION_FAILED, TOOL_TIMEOUT,
   * TOOL_FAILED, INTERRUPTED
   */
  async call<T>(call: Call<T>): Promise<T> {
    const microversion = call.service === 'compute' ? await this.microversion(call.signal) : undefined;
    const root = await this.#root(call.service, call.signal);
    const path = call.path.map((segment) => `/${encodeURIComponent(segment)}`).join('');
    const url = new URL(`${root}${path}`);
    if (call.query !== undefined) url.search = call.query.toString();
    return this.#slots(() => this.#send(call, url, microversion));
  }

  /** A call to a URL, within a slot that the caller has. */
  async #send<T>(call: Call<T>, url: URL, microversion: string | undefined): Promise<T> {
    let token = await this.session.token(call.signal);
    let sent = await this.#attempt(call, url, microversion, token);
    if (!(sent.result instanceof TransportFailure) && sent.result.status === 401) {
      // Revoked, or expired during the request. The server did nothing.
      await this.session.drop(token);
      token = await this.session.token(call.signal);
      const second = await this.#attempt(call, url, microversion, token);
      sent = { ...second, isUncertain: sent.isUncertain || second.isUncertain };
    }
    return this.#evaluate(call, url, sent);
  }

  #attempt<T>(call: Call<T>, url: URL, microversion: string | undefined, token: Secret): Promise<Sent> {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const headers: Record<string, string> = { accept: 'application/json', 'x-auth-token': token.reveal() };
    if (body !== undefined) headers['content-type'] = call.contentType ?? 'application/json';
    if (call.upload !== undefined) headers['content-type'] = 'application/octet-stream';
    const length = call.upload?.bytes ?? (body === undefined ? undefined : Buffer.byteLength(body));
    if (length !== undefined) headers['content-length'] = String(length);
    else if (call.method !== 'GET') headers['content-length'] = '0';
    if (microversion !== undefined) {
      headers['openstack-api-version'] = `compute ${microversion}`;
      headers['x-openstack-nova-api-version'] = microversion;
    }
    const content = call.upload === undefined ? (body === undefined ? {} : { body }) : undefined;
    const make = (): HttpRequest => ({
      ...{ method: call.method, url, headers, signal: call.signal },
      ...(content ?? { body: call.upload?.open() ?? '' }),
      ...{ idleMs: this.#timeoutMs, totalMs: this.#timeoutMs, maxBytes: call.maxBytes ?? maxReplyBytes },
      isReusing: call.repetition === 'safe' && call.upload === undefined,
    });
    return this.#retrier.send(`${call.method} ${call.route}`, make, call.repetition);
  }

  #evaluate<T>(call: Call<T>, url: URL, { result, isUncertain }: Sent): T {
    const mayBeDone = call.repetition === 'unsafe' && isUncertain;
    if (result instanceof TransportFailure) throw connectionError(call.action, result, url.host, this.settings, mayBeDone);
    if (result.status < 200 || result.status > 299) throw this.#refusal(call, result, mayBeDone);
    const parsed = call.schema.safeParse(result.body === '' ? undefined : parseJson(result.body));
    if (parsed.success) return parsed.data;
    const findings = parsed.error.issues.slice(0, 5).map(({ path, code }) => `${path.join('.') || 'body'}: ${code}`);
    throw unexpectedReply(call.action, call.service, findings);
  }

  #refusal<T>(call: Call<T>, { status, body, headers }: HttpReply, mayBeDone: boolean): CowherdError {
    const safe = withoutSecrets(body, [...this.session.secrets, ...(call.secrets ?? [])]);
    const requestId = headers['x-openstack-request-id'] ?? headers['x-compute-request-id'];
    const error = apiError({ action: call.action, service: call.service, status, body: safe, requestId });
    if (!mayBeDone || status < 500) return error;
    return new UncertainError(error.code, error.message, {
      details: error.details,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }

  async #negotiate(): Promise<string> {
    const call: Call<z.output<typeof versionDocumentSchema>> = {
      ...{ service: 'compute', method: 'GET', path: [], route: '/', repetition: 'safe' },
      ...{ action: 'read the versions of the Compute API', schema: versionDocumentSchema },
    };
    const endpoint = await this.session.endpoint('compute');
    return negotiateMicroversion(await this.#send(call, new URL(`${computeRoot(endpoint)}/`), undefined));
  }

  async #root(type: ServiceType, signal: AbortSignal | undefined): Promise<string> {
    const endpoint = await this.session.endpoint(type, signal);
    if (type === 'image') return imageRoot(endpoint);
    if (type === 'network') return networkRoot(endpoint);
    return /\/v2(\.\d+)?(\/|$)/.test(endpoint) ? endpoint : `${computeRoot(endpoint)}/v2.1`;
  }
}
