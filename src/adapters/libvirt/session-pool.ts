import { setTimeout } from 'node:timers/promises';
import pLimit, { type LimitFunction } from 'p-limit';
import { CowherdError } from '../../core/errors.js';
import { VirshSession } from './virsh-session.js';

/** Connections to libvirt that are kept open. One call that hangs in libvirtd must not keep the others from their turn. */

export interface PoolOptions {
  uri: string;
  /** How many virsh processes, each with one connection, are kept at most. */
  sessions: number;
  timeoutMs: number;
  /** How long a call may take at least that waits for a QEMU which is being ended. */
  leastHeldMs?: number;
  /** Descriptors that every virsh inherits: a lock on them lasts until the last call that was under way is over. */
  inherit: () => number[];
  /** Changes whenever what is inherited does. */
  inheritance: () => number;
  environment: () => Promise<Record<string, string | undefined>>;
}

/**
 * libvirt gives a QEMU that does not listen 10 s before it kills it, and keeps its domain locked meanwhile. A list of domains waits for that,
 * and even the definition of another domain does.
 */
const defaultHeldMs = 20_000;

/** A call that takes longer gives its place to the next one, and keeps its connection. */
const slowMs = 5_000;
/**
 * How many slow calls may give up their place at the same time. libvirtd has 20 workers by default (max_workers in libvirtd.conf),
 * and each slow call holds one.
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

  /** How much longer than others a call may take that waits for a QEMU which is being ended. */
  get heldMs(): number {
    const { timeoutMs, leastHeldMs = defaultHeldMs } = this.#options;
    return Math.max(0, leastHeldMs - timeoutMs);
  }

  /** Connections that ended before an answer came. */
  get losses(): number {
    return this.#losses;
  }

  /**
   * Runs calls on a free session. A lost connection is tried once more on a new one: our calls can be repeated, since
   * "already running", "not running" and "not found" count as done where they are what was asked for.
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
    // Calls that nothing waits for any more must not open what was just closed.
    this.#assertOpen();
    const env = await this.#options.environment();
    this.#assertOpen();
    const inheritance = this.#options.inheritance();
    const idle = this.#sessions.filter((candidate) => !this.#busy.has(candidate));
    for (const [position, session] of idle.entries()) {
      // Sessions that were opened under other locks would not keep the present one held after a kill -9; those that stood in for slow
      // ones are not needed any more.
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
