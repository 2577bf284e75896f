import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { ProgressEvent } from '../../src/core/progress.js';
import type { WorkOptions } from '../../src/services/fleet/access.js';
import { inTurn } from '../../src/services/run/in-turn.js';

describe('work on several fleets', () => {
  it('starts the next fleet while the previous one only waits, and reports in order', async () => {
    const happened: string[] = [];
    const events: ProgressEvent[] = [];
    let release = (): void => undefined;
    const isReady = new Promise<void>((resolve) => {
      release = resolve;
    });
    await inTurn(
      ['web', 'db'],
      async (fleet, share) => {
        const { onWaiting, onProgress } = share<WorkOptions>({ onProgress: (event) => events.push(event) });
        happened.push(`${fleet} works`);
        onProgress?.({ kind: 'stage', stage: 'start', done: 2, total: 2 });
        await setTimeout(1);
        happened.push(`${fleet} waits`);
        onWaiting?.();
        // The first one becomes ready only after the second one.
        if (fleet === 'web') await isReady;
        release();
        return fleet;
      },
      (fleet, { status }) => happened.push(`${fleet} ${status}`),
      () => false,
    );
    expect(happened).toEqual(['web works', 'web waits', 'db works', 'db waits', 'web fulfilled', 'db fulfilled']);
    expect(events.at(-1)).toMatchObject({ stage: 'start', done: 4, total: 4 });
  });

  it('never processes two at once, and starts none after the last', async () => {
    const happened: string[] = [];
    const run = inTurn(
      ['web', 'db', 'cache'],
      async (fleet) => {
        happened.push(`${fleet} works`);
        await setTimeout(1);
        happened.push(`${fleet} is done`);
        if (fleet === 'db') throw new Error('over');
      },
      (fleet, result) => {
        happened.push(`${fleet} ${result.status}`);
        if (result.status === 'rejected') throw result.reason;
      },
      ({ status }) => status === 'rejected',
    );
    await expect(run).rejects.toThrow('over');
    expect(happened).toEqual(['web works', 'web is done', 'web fulfilled', 'db works', 'db is done', 'db rejected']);
  });
});
