import { CowherdError } from '../../../core/errors.js';
import type { Clock } from '../../../ports/machine.js';
import { type Attempt, afterAttempt, isUncertain, type Repetition, type RetryLimits, retryLimits } from '../core/retry.js';
import { type HttpReply, type HttpRequest, type Transport, TransportFailure } from './transport.js';

/** Sends requests, several times if that is safe. */

/** What happened in one attempt, e.g. for a trace. It contains no secrets. */
export interface RequestEvent {
  /** Method and path, with {id} for ids. */
  route: string;
  /** From 1. */
  attempt: number;
  /** HTTP status, or why there was no reply. */
  result: number | string;
  ms: number;
}

export interface RetrierOptions {
  clock: Clock;
  limits?: RetryLimits;
  /** 0 to 1: spreads the pauses of requests that failed at the same moment. */
  random?: () => number;
  onRequest?: (event: RequestEvent) => void;
}

/** The last attempt of a request. */
export interface Sent {
  result: HttpReply | TransportFailure;
  attempts: number;
  /** Whether the server may have acted in any attempt that did not succeed. */
  isUncertain: boolean;
}

export class Retrier {
  readonly #clock: Clock;
  readonly #limits: RetryLimits;
  readonly #random: () => number;

  constructor(
    private readonly transport: Transport,
    private readonly options: RetrierOptions,
  ) {
    this.#clock = options.clock;
    this.#limits = options.limits ?? retryLimits;
    this.#random = options.random ?? Math.random;
  }

  /**
   * @param make makes the request anew for each attempt, since a stream can be read only once
   * @throws INTERRUPTED; other failures are in the result
   */
  async send(route: string, make: () => HttpRequest | Promise<HttpRequest>, repetition: Repetition): Promise<Sent> {
    const begin = this.#clock.monotonic();
    let wasUncertain = false;
    for (let number = 1; ; number++) {
      const request = await make();
      const { result, attempt } = await this.#once(route, request, number);
      wasUncertain ||= isUncertain(attempt);
      const elapsedMs = this.#clock.monotonic() - begin;
      const now = this.#clock.now().getTime();
      const decision = afterAttempt(attempt, { number, elapsedMs, now, repetition }, this.#limits);
      const isFinal = result instanceof TransportFailure && (result.kind === 'tls' || result.kind === 'too-large');
      if (isFinal || !decision.repeat) return { result, attempts: number, isUncertain: wasUncertain };
      await this.#clock.sleep(decision.pauseMs * (1 + 0.2 * this.#random()), request.signal);
      if (request.signal?.aborted === true) throw interrupted();
    }
  }

  async #once(route: string, request: HttpRequest, number: number): Promise<{ result: Sent['result']; attempt: Attempt }> {
    const begin = this.#clock.monotonic();
    const tell = (result: number | string): void =>
      this.options.onRequest?.({ route, attempt: number, result, ms: this.#clock.monotonic() - begin });
    try {
      const reply = await this.transport.send(request);
      tell(reply.status);
      return { result: reply, attempt: { kind: 'reply', status: reply.status, retryAfter: reply.headers['retry-after'] } };
    } catch (error) {
      if (!(error instanceof TransportFailure)) throw error;
      tell(error.kind);
      if (error.kind === 'aborted') throw interrupted();
      return { result: error, attempt: { kind: error.wasSent ? 'lost' : 'not-sent' } };
    }
  }
}

export function interrupted(): CowherdError {
  return new CowherdError('INTERRUPTED', 'Interrupted while waiting for the cloud');
}

/** A promise that several callers share, for one of them: it stops waiting when its own signal aborts. @throws INTERRUPTED */
export async function orAborted<T>(shared: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return shared;
  if (signal.aborted) throw interrupted();
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(interrupted());
    signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([shared, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
