import type { RequestEvent } from './retrier.js';

/** Requests that were sent, with logins and repetitions. */
export interface RequestCounts {
  requests: number;
  /** Of those: further attempts of the same request. */
  repeated: number;
  /** By route, e.g. "POST /servers". */
  byRoute: Record<string, number>;
}

export class RequestCounter {
  #requests = 0;
  #repeated = 0;
  readonly #byRoute = new Map<string, number>();

  add({ route, attempt }: RequestEvent): void {
    this.#requests++;
    if (attempt > 1) this.#repeated++;
    this.#byRoute.set(route, (this.#byRoute.get(route) ?? 0) + 1);
  }

  get counts(): RequestCounts {
    return { requests: this.#requests, repeated: this.#repeated, byRoute: Object.fromEntries([...this.#byRoute].sort()) };
  }
}
