import { describe, expect, it } from 'vitest';
import { fleet, NovaLab } from '../../../support/openstack/nova-lab.js';

/** Requests grow with the number of members, and no faster. */

type Verb = 'spawn' | 'spawn again' | 'status' | 'list' | 'report' | 'reset' | 'stop' | 'start' | 'rebase' | 'teardown';

async function requestsFor(count: number): Promise<Record<Verb, number>> {
  // Hosts in proportion to the members, so that the tasks take the same time.
  const lab = await NovaLab.openTimed({ hosts: count / 10, quota: { instances: undefined } });
  try {
    lab.cloud.addImage({ name: 'next', sha512: '6'.repeat(128) });
    const engine = await lab.engine();
    const done = async (work: Promise<{ counts: { failed: number } }>): Promise<void> => {
      expect((await work).counts.failed).toBe(0);
    };
    const of = (work: () => Promise<unknown>): Promise<number> => lab.requestsOf(work);
    return {
      spawn: await of(() => done(lab.spawn(count))),
      'spawn again': await of(() => done(lab.spawn(count))),
      status: await of(() => engine.status(fleet)),
      list: await of(() => engine.list()),
      report: await of(() => engine.report([fleet])),
      reset: await of(() => done(engine.reset({ fleet }))),
      stop: await of(() => done(engine.stop({ fleet }))),
      start: await of(() => done(engine.start({ fleet }))),
      rebase: await of(() => done(engine.rebase({ fleet, base: 'next', batch: count }))),
      teardown: await of(() => done(engine.teardown({ fleet }))),
    };
  } finally {
    await lab.close();
  }
}

describe('the number of requests', () => {
  it('grows linearly, and does not grow for what is read', async () => {
    const [fifty, hundred] = [await requestsFor(50), await requestsFor(100)];
    for (const verb of ['status', 'list', 'report', 'spawn again'] as const) {
      expect(hundred[verb], verb).toBe(fifty[verb]);
      expect(hundred[verb], verb).toBeLessThanOrEqual(6);
    }
    for (const verb of ['spawn', 'reset', 'stop', 'start', 'rebase', 'teardown'] as const) {
      // One request per member, and polls for each group of members that are worked on together, whose number varies a little with the
      // load of this machine. A server that is no longer listed is asked for once.
      const each = verb === 'teardown' ? 2 : 1;
      expect(hundred[verb], verb).toBeLessThanOrEqual(2 * fifty[verb] + 40);
      expect(hundred[verb], verb).toBeLessThanOrEqual(100 * each + 90);
    }
  }, 120_000);
});
