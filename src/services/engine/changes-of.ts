import { setTimeout } from 'node:timers/promises';
import type { Engine, FleetChanges } from './engine.js';

/** Changes of fleets as the engine reports them. Without reports, every wait takes the longest time. */
export async function changesOf(engine: Pick<Engine, 'watch'>, fleets: readonly string[], signal: AbortSignal): Promise<FleetChanges> {
  return (
    (await engine.watch?.(fleets, signal)) ?? {
      // Rejected when the signal is aborted: the wait is over, too.
      next: ({ most }) => setTimeout(most, undefined, { signal }).catch(() => undefined),
    }
  );
}
