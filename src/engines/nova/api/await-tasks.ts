import type { Clock } from '../../../ports/machine.js';
import type { Server } from '../core/servers.js';
import { observe, type SettlingLimits, settlingLimits, type Task, type Verdict, type Watch, watchTask } from '../core/settling.js';
import { interrupted } from '../http/retrier.js';
import type { Servers } from './servers.js';

export interface AwaitOptions {
  /** A tag that all the servers have. */
  tag: string;
  /** By id. */
  tasks: ReadonlyMap<string, Task>;
  /** Called once per server, when its task has ended. */
  onEnd?: (id: string, verdict: Verdict, server: Server | undefined) => void;
  /** ms between two lists. Default: 1,000. */
  pauseMs?: number;
  limits?: SettlingLimits;
  signal?: AbortSignal | undefined;
}

/**
 * Waits until the tasks of many servers have ended, with one list for all of them per second.
 * @returns how each one ended: settled, failed or stuck
 * @throws INTERRUPTED, and like CloudClient.call
 */
export async function awaitTasks(servers: Servers, clock: Clock, options: AwaitOptions): Promise<Map<string, Verdict>> {
  const { tag, tasks, onEnd, pauseMs = 1_000, limits = settlingLimits, signal } = options;
  const begin = clock.monotonic();
  const watches = new Map<string, Watch>([...tasks].map(([id, task]) => [id, watchTask(task, begin)]));
  const ended = new Map<string, Verdict>();
  for (;;) {
    const listed = new Map((await servers.list([tag], { signal })).map((server) => [server.id, server]));
    const pending = [...watches.keys()].map(async (id) => [id, await complete(servers, id, listed.get(id), signal)] as const);
    const current = new Map(await Promise.all(pending));
    for (const [id, watch] of watches) {
      const server = current.get(id);
      const seen = observe(watch, server ?? 'absent', clock.monotonic(), limits);
      watches.set(id, seen.watch);
      if (seen.verdict.state === 'working') continue;
      watches.delete(id);
      ended.set(id, seen.verdict);
      onEnd?.(id, seen.verdict, server);
    }
    if (watches.size === 0) return ended;
    await clock.sleep(pauseMs, signal);
    if (signal?.aborted === true) throw interrupted();
  }
}

/** Lists leave out servers of a cell that does not answer, and often the fault of a server that got no host. */
async function complete(
  servers: Servers,
  id: string,
  listed: Server | undefined,
  signal: AbortSignal | undefined,
): Promise<Server | undefined> {
  if (listed !== undefined && (listed.status !== 'ERROR' || listed.fault !== undefined)) return listed;
  return servers.get(id, { signal });
}
