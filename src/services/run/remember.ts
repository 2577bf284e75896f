import { randomUUID } from 'node:crypto';
import type { ErrorReport } from '../../core/errors.js';
import type { Ports } from '../../ports/index.js';

interface Ended {
  index: number;
  isDone: boolean;
  error?: ErrorReport | undefined;
}

/**
 * Adds a command that has no journal to the fleet's history, in which journaled ones are added when they end; not one that
 * changed nothing, e.g. because it was refused. It is for display, so an error does not matter.
 * @param seconds how long it took
 */
export async function remember(
  { fleets, clock }: Pick<Ports, 'fleets' | 'clock'>,
  fleet: string,
  { verb, seconds, members }: { verb: string; seconds: number; members: readonly Ended[] },
): Promise<void> {
  if (!members.some(({ isDone }) => isDone)) return;
  const run = {
    id: randomUUID(),
    verb,
    startedAt: new Date(clock.now().getTime() - seconds * 1000).toISOString(),
    done: new Set(members.filter(({ isDone }) => isDone).map(({ index }) => index)),
    failed: new Map(members.flatMap(({ index, error }) => (error === undefined ? [] : [[index, error.code] as const]))),
  };
  await fleets.remember(fleet, run).catch(() => undefined);
}
