import { setTimeout } from 'node:timers/promises';
import pLimit, { type LimitFunction } from 'p-limit';
import { CowherdError } from '../../../core/errors.js';
import { VirshSession } from './virsh-session.js';

/** Connections to libvirt that are kept open. A call that hangs in libvirtd must not block the others. */

export interface PoolOptions {
  uri: string;
  /** Largest number of virsh processes to keep, each with one connection. */
  sessions: number;
  timeoutMs: number;
  /** Minimum timeout of a call that waits for a QEMU to be killed. */
  leastHeldMs?: number;
  /** Descriptors that every virsh inherits: a lock on them lasts until the last running call has ended. */
  inherit: () => number[];
  /** Changes whenever the inherited descriptors change. */
  inheritance: () => number;
  environment: () => Promise<Record<string, string | undefined>>;
}

/**
 * libvirt waits 10 s before it kills a QEMU that ignores SIGTERM, and keeps its domain locked meanwhile. Listing domains waits for that
 * lock, and so does defining another domain.
 */
const defaultHeldMs = 20_000;

/**
 * libvirt 11 waits up to 30 s for a call that holds the domain, and then gives its definition all the same (`QEMU_JOB_WAIT_TIME`).
 * Older releases do not wait.
 */
const leastDefinitionMs = 45_000;

/** A call that takes longer no longer counts towards the limit, but keeps its connection. */
const slowMs = 5_000;
/**
 * How many slow calls may exceed the limit at the same time. libvirtd has 20 workers by default (max_workers in libvirtd.conf),
 * and each slow call occupies one.
 */
const mostSlow = 8;

export class SessionPool {
  readonly #options: PoolOptions;
  readonly #limit: LimitFunction;
  readonly #sessions: VirshSession[] = [];
  readonly #busy = new Set<VirshSession>();
  readonly #inherited = new WeakMap<VirshSession, number>();
  #slow = 0;
  #losses = 0;
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#limit = pLimit(options.sessions);
  }

  /** Additional timeout of a call that waits for a QEMU to be killed. */
  get heldMs(): number {
    const { timeoutMs, leastHeldMs = defaultHeldMs } = this.#options;
    return Math.max(0, leastHeldMs - timeoutMs);
  }

  /** Additional timeout of a call that reads a domain's definition. */
  get definitionMs(): number {
    return Math.max(this.heldMs, leastDefinitionMs - this.#options.timeoutMs);
  }

  /** Number of connections that ended before they answered. */
  get losses(): number {
    return this.#losses;
  }

  /**
   * Runs calls on a free session, and retries once on a new connection if it is lost. The calls can be repeated, since
   * "already running", "not running" and "not found" count as success when they are the desired state.
   */
  run<T>(work: (session: VirshSession) => Promise<T>, attempts = 2): Promise<T> {
    return new Promise((resolve, reject) => {
      void this.#limit(async () => {
        const result = this.#attempt(work, attempts);
        result.then(resolve, reject);
        await this.#untilDoneOrSlow(result.catch(() => undefined));
      });
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const session of this.#sessions.splice(0)) session.close();
  }

  async #untilDoneOrSlow(result: Promise<unknown>): Promise<void> {
    const isDone = new AbortController();
    const done = result.then(() => isDone.abort());
    await Promise.race([done, setTimeout(slowMs, undefined, { signal: isDone.signal }).catch(() => undefined)]);
    if (isDone.signal.aborted) return;
    if (this.#slow >= mostSlow) return done;
    this.#slow++;
    void done.then(() => this.#slow--);
  }

  async #attempt<T>(work: (session: VirshSession) => Promise<T>, attempts: number): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const session = await this.#free();
      try {
        return await work(session);
      } catch (error) {
        this.#drop(session);
        if (!(error instanceof CowherdError) || error.code !== 'CONNECTION_FAILED') throw error;
        this.#losses++;
        if (attempt >= attempts || this.#isClosed) throw error;
      } finally {
        this.#busy.delete(session);
      }
    }
  }

  async #free(): Promise<VirshSession> {
    // Abandoned calls must not open a new connection after close.
    this.#assertOpen();
    const env = await this.#options.environment();
    this.#assertOpen();
    const inheritance = this.#options.inheritance();
    const idle = this.#sessions.filter((candidate) => !this.#busy.has(candidate));
    for (const [position, session] of idle.entries()) {
      // Sessions opened under other locks would not keep the current lock held after a kill -9; those that replaced slow
      // ones are no longer needed.
      const isSpare = position >= this.#options.sessions;
      if (isSpare || this.#inherited.get(session) !== inheritance || !session.isUsable) this.#drop(session);
    }
    let session = this.#sessions.find((candidate) => !this.#busy.has(candidate));
    if (session === undefined) {
      session = new VirshSession(this.#options.uri, { env, timeoutMs: this.#options.timeoutMs, inherit: this.#options.inherit() });
      this.#sessions.push(session);
      this.#inherited.set(session, inheritance);
    }
    this.#busy.add(session);
    return session;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new CowherdError('CONNECTION_FAILED', 'The connection to libvirt was closed');
  }

  #drop(session: VirshSession): void {
    session.close();
    const position = this.#sessions.indexOf(session);
    if (position >= 0) this.#sessions.splice(position, 1);
  }
}
