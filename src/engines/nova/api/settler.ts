import type { Clock } from '../../../ports/machine.js';
import type { Server } from '../core/servers.js';
import { observe, type SettlingLimits, settlingLimits, type Task, type Verdict, type Watch, watchTask } from '../core/settling.js';
import { interrupted } from '../http/retrier.js';
import type { Servers } from './servers.js';

export interface SettlerOptions {
  /** A tag that all the servers have. */
  tag: string;
  /** ms between two lists. Default: 1,000. */
  pauseMs?: number;
  limits?: SettlingLimits;
  /** Aborted by Ctrl-C. */
  signal?: AbortSignal | undefined;
  /** For how long tasks are still waited for then, in ms. Default: 30,000. */
  patienceMs?: number;
}

interface Waiting {
  watch: Watch;
  resolve(verdict: Verdict): void;
  reject(error: unknown): void;
}

/**
 * Waits for the tasks of many servers, with one list for all of them per second while there are any. After an interruption, tasks that
 * take longer are left to the cloud.
 */
export class Settler {
  readonly #waiting = new Map<string, Waiting>();
  #isRunning = false;
  /** clock.monotonic() when the interruption was noticed. */
  #interruptedAt: number | undefined;

  constructor(
    private readonly servers: Pick<Servers, 'list' | 'get'>,
    private readonly clock: Clock,
    private readonly options: SettlerOptions,
  ) {}

  /**
   * @returns how the task ended: settled, failed or stuck
   * @throws INTERRUPTED; and like CloudClient.call, if the cloud can no longer be asked
   */
  settle(id: string, task: Task): Promise<Verdict> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { watch: watchTask(task, this.clock.monotonic()), resolve, reject });
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    const { pauseMs = 1_000, signal } = this.options;
    this.#isRunning = true;
    // The first list is for all tasks that begin at this moment.
    await Promise.resolve();
    try {
      while (this.#waiting.size > 0) {
        await this.#look();
        if (this.#waiting.size === 0) break;
        this.#assertPatient();
        // Once it is aborted, it would end every pause at once.
        await this.clock.sleep(pauseMs, signal?.aborted === true ? undefined : signal);
        this.#assertPatient();
      }
    } catch (error) {
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    } finally {
      this.#isRunning = false;
    }
  }

  async #look(): Promise<void> {
    // Tasks that begin while the list is read are judged with the next one.
    const ids = [...this.#waiting.keys()];
    const listed = new Map((await this.servers.list([this.options.tag])).map((server) => [server.id, server]));
    await Promise.all(ids.map((id) => this.#judge(id, listed.get(id))));
  }

  async #judge(id: string, listed: Server | undefined): Promise<void> {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    try {
      const server = await this.#complete(id, listed);
      const seen = observe(waiting.watch, server ?? 'absent', this.clock.monotonic(), this.options.limits ?? settlingLimits);
      waiting.watch = seen.watch;
      if (seen.verdict.state === 'working') return;
      waiting.resolve(seen.verdict);
    } catch (error) {
      // Of this server only: the others were listed.
      waiting.reject(error);
    }
    this.#waiting.delete(id);
  }

  #assertPatient(): void {
    const { signal, patienceMs = 30_000 } = this.options;
    if (signal?.aborted !== true) return;
    this.#interruptedAt ??= this.clock.monotonic();
    if (this.clock.monotonic() - this.#interruptedAt >= patienceMs) throw interrupted();
  }

  /** Lists leave out servers of a cell that does not answer, and often the fault of a server that got no host. */
  #complete(id: string, listed: Server | undefined): Promise<Server | undefined> | Server {
    return listed !== undefined && (listed.status !== 'ERROR' || listed.fault !== undefined) ? listed : this.servers.get(id);
  }
}
