import { formatDuration } from '../../../core/duration.js';
import { CowherdError, reportOf } from '../../../core/errors.js';
import { excerpt } from '../../../core/guest/text.js';
import type { WorkOptions } from '../../../services/fleet/access.js';
import { Settler } from '../api/settler.js';
import type { NovaContext } from '../context.js';
import { hasStatus } from '../core/api-error.js';
import type { Server } from '../core/servers.js';
import { settlingLimits } from '../core/settling.js';

/** Stops one server for a time, and starts it again. */

export interface OneServer {
  server: Pick<Server, 'id'>;
  /** Name of the member. */
  name: string;
  /** Its unique tag. */
  tag: string;
}

type Context = Pick<NovaContext, 'cloud' | 'ports'>;

/** How long to wait until the cloud has ended what it is doing with a server, and started it. */
const startAgainMs = 600_000;
const mostStarts = 3;
const pauseMs = 1_000;

/**
 * Shuts the server down. The cloud forces it off if the guest does not react.
 * @throws NOT_STOPPED if it has not stopped in time; INTERRUPTED; and like every call of the cloud
 */
export async function shutDown(
  { cloud, ports }: Context,
  { server, name, tag }: OneServer,
  { timeoutMs, signal, onProgress }: WorkOptions & { timeoutMs?: number | undefined },
): Promise<void> {
  onProgress?.({ kind: 'note', text: `Shutting down ${name}.` });
  await cloud.servers.stop({ ...server, name }, { signal });
  const stuckMs = timeoutMs ?? settlingLimits.stuckMs;
  const settler = new Settler(cloud.servers, ports.clock, { tag, signal, patienceMs: 0, limits: { ...settlingLimits, stuckMs } });
  const verdict = await settler.settle(server.id, { kind: 'stop' });
  if (verdict.state === 'settled') return;
  const reason = 'reason' in verdict ? verdict.reason : 'its state is not known';
  throw new CowherdError('NOT_STOPPED', `${name} did not stop within ${formatDuration(stuckMs)}: ${reason}`, {
    hint: `Allow more time with --timeout, or see its output: cowherd logs ${name}`,
  });
}

/**
 * Starts the server again, when the cloud has ended what it is doing with it. Also after Ctrl-C: it was running before. Never throws.
 * @returns a note for the user
 */
export async function startAgain(context: Context, one: OneServer): Promise<string> {
  try {
    const lack = await runningAgain(context, one);
    return lack === undefined ? `${one.name} was shut down and started again` : `${one.name} was not started again: ${lack}`;
  } catch (error) {
    return `${one.name} was not started again: ${reportOf(error).message}`;
  }
}

/** @returns why it is not running */
async function runningAgain({ cloud, ports }: Context, { server: { id } }: OneServer): Promise<string | undefined> {
  const deadline = ports.clock.monotonic() + startAgainMs;
  let starts = 0;
  for (;;) {
    const server = await cloud.servers.get(id);
    if (server === undefined) return 'its server does not exist any more';
    const { status, taskState, fault } = server;
    if (taskState === null && status === 'ACTIVE') return undefined;
    if (taskState === null && status === 'SHUTOFF' && starts < mostStarts) {
      starts++;
      // A task that began at this moment ends, too.
      await cloud.servers.start(server).catch((error: unknown) => {
        if (!hasStatus(error, 409)) throw error;
      });
    } else if (taskState === null) {
      return excerpt(fault ?? `the server is ${status}`);
    }
    if (ports.clock.monotonic() > deadline) return `the server is still ${excerpt(status)} (${excerpt(taskState ?? 'no task')})`;
    await ports.clock.sleep(pauseMs);
  }
}
