import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Answer,
  isUnderWay,
  observe,
  settlingLimits,
  type Task,
  type Verdict,
  watchTask,
} from '../../../../src/engines/nova/core/settling.js';

const image = 'image-1';
const server = (status: string, taskState: string | null = null, extra: { imageId?: string; fault?: string } = {}): Answer => ({
  ...{ status, taskState, imageId: image, fault: undefined },
  ...extra,
});

const tasks: Task[] = [
  { kind: 'create' },
  { kind: 'rebuild', imageId: image, endsIn: 'ACTIVE' },
  { kind: 'rebuild', imageId: image, endsIn: 'SHUTOFF' },
  { kind: 'start' },
  { kind: 'stop' },
  { kind: 'delete' },
];
const done: Record<string, Answer> = {
  create: server('ACTIVE'),
  start: server('ACTIVE'),
  stop: server('SHUTOFF'),
  delete: 'absent',
};
const doneOf = (task: Task): Answer => (task.kind === 'rebuild' ? server(task.endsIn) : (done[task.kind] ?? 'absent'));

/** What counts as a change: not the fault, which lists leave out. */
const stateOf = (answer: Answer | undefined): string =>
  answer === undefined || answer === 'absent' ? 'absent' : JSON.stringify([answer.status, answer.taskState, answer.imageId]);

/** The verdicts for answers, each with its time in ms. */
function verdicts(task: Task, answers: ReadonlyArray<readonly [at: number, answer: Answer]>): Verdict[] {
  let watch = watchTask(task, 0);
  return answers.map(([at, answer]) => {
    const seen = observe(watch, answer, at);
    watch = seen.watch;
    return seen.verdict;
  });
}

const states = (task: Task, answers: ReadonlyArray<readonly [number, Answer]>): string[] =>
  verdicts(task, answers).map(({ state }) => state);

describe('a task of the cloud', () => {
  it('is done when status and task state are right', () => {
    expect(
      states({ kind: 'create' }, [
        [0, server('BUILD', 'scheduling')],
        [1e3, server('BUILD', 'spawning')],
        [2e3, server('ACTIVE')],
      ]),
    ).toEqual(['working', 'working', 'settled']);
  });

  it('is not done while a task state remains', () => {
    expect(states({ kind: 'rebuild', imageId: image, endsIn: 'ACTIVE' }, [[1e3, server('ACTIVE', 'rebuild_spawning')]])).toEqual([
      'working',
    ]);
  });

  it('a rebuild of a stopped server boots it briefly, and is done when it is stopped again', () => {
    const task: Task = { kind: 'rebuild', imageId: image, endsIn: 'SHUTOFF' };
    const answers = [server('REBUILD', 'rebuilding'), server('ACTIVE', 'powering-off'), server('SHUTOFF')];
    expect(
      states(
        task,
        answers.map((answer, at) => [at * 1e3, answer] as const),
      ),
    ).toEqual(['working', 'working', 'settled']);
  });

  it('a rebuild of a stopped server that runs for a moment without a task has not failed', () => {
    const task: Task = { kind: 'rebuild', imageId: image, endsIn: 'SHUTOFF' };
    const { graceMs } = settlingLimits;
    expect(
      states(task, [
        [1e3, server('REBUILD', 'rebuild_spawning')],
        [20e3, server('ACTIVE')],
        [21e3, server('ACTIVE', 'powering-off')],
        [22e3, server('SHUTOFF')],
      ]),
    ).toEqual(['working', 'working', 'working', 'settled']);
    expect(
      states(task, [
        [20e3, server('ACTIVE')],
        [20e3 + graceMs, server('ACTIVE')],
      ]),
    ).toEqual(['working', 'failed']);
  });

  it('a rebuild with another image than the wanted one is not done', () => {
    const task: Task = { kind: 'rebuild', imageId: 'image-2', endsIn: 'ACTIVE' };
    const [early, late] = verdicts(task, [
      [0, server('ACTIVE')],
      [settlingLimits.graceMs, server('ACTIVE')],
    ]);
    expect(early).toEqual({ state: 'working' });
    expect(late).toEqual({ state: 'failed', reason: 'the server still has image image-1' });
  });

  it('fails with the message of the fault', () => {
    const [verdict] = verdicts({ kind: 'create' }, [[0, server('ERROR', null, { fault: 'No valid host was found.\u001b[31m' })]]);
    expect(verdict).toEqual({ state: 'failed', reason: 'No valid host was found.' });
  });

  it('with an empty fault fails with its state', () => {
    const [verdict] = verdicts({ kind: 'create' }, [[0, server('ERROR', null, { fault: ' ' })]]);
    expect(verdict).toEqual({ state: 'failed', reason: 'the server is ERROR, without a task' });
  });

  it('an old fault is none while the cloud works on it', () => {
    expect(states({ kind: 'delete' }, [[0, server('ERROR', 'deleting', { fault: 'old' })]])).toEqual(['working']);
  });

  it('a server that is idle in the old state has grace, and then has failed', () => {
    expect(
      states({ kind: 'stop' }, [
        [0, server('ACTIVE')],
        [settlingLimits.graceMs - 1, server('ACTIVE')],
        [settlingLimits.graceMs, server('ACTIVE')],
      ]),
    ).toEqual(['working', 'working', 'failed']);
  });

  it('a server that disappears has failed, unless it is deleted', () => {
    for (const task of tasks) expect(states(task, [[0, 'absent']])).toEqual([task.kind === 'delete' ? 'settled' : 'failed']);
  });

  it('a kept deleted server is deleted', () => {
    expect(states({ kind: 'delete' }, [[0, server('SOFT_DELETED')]])).toEqual(['settled']);
  });

  it('is stuck when nothing changes', () => {
    const late = settlingLimits.stuckMs;
    const [, verdict] = verdicts({ kind: 'delete' }, [
      [0, server('ACTIVE', 'deleting')],
      [late, server('ACTIVE', 'deleting')],
    ]);
    expect(verdict).toEqual({ state: 'stuck', reason: 'no change for 300 s (ACTIVE, deleting)' });
  });

  it('a change begins the time anew', () => {
    const late = settlingLimits.stuckMs;
    const answers = [
      [0, server('BUILD', 'scheduling')],
      [late - 1, server('BUILD', 'spawning')],
      [late + 1, server('BUILD', 'spawning')],
    ] as const;
    expect(states({ kind: 'create' }, answers)).toEqual(['working', 'working', 'working']);
  });
});

describe('for any answers of the cloud', () => {
  const word = fc.oneof(
    fc.constantFrom('ACTIVE', 'BUILD', 'REBUILD', 'ERROR', 'SHUTOFF', 'DELETED', 'SOFT_DELETED', 'UNKNOWN', 'VERIFY_RESIZE', 'PAUSED'),
    fc.string({ maxLength: 12 }),
  );
  const answer: fc.Arbitrary<Answer> = fc.oneof(
    { weight: 1, arbitrary: fc.constant('absent' as const) },
    {
      weight: 9,
      arbitrary: fc.record({
        status: word,
        taskState: fc.oneof(
          fc.constant(null),
          fc.constantFrom('spawning', 'rebuilding', 'powering-off', 'deleting'),
          fc.string({ maxLength: 12 }),
        ),
        imageId: fc.constantFrom(image, 'image-2', undefined),
        fault: fc.oneof(fc.constant(undefined), fc.string()),
      }),
    },
  );
  const task = fc.constantFrom(...tasks);
  const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 400_000 }), answer), { maxLength: 12 });
  const timed = (list: ReadonlyArray<readonly [number, Answer]>): Array<readonly [number, Answer]> => {
    let at = 0;
    return list.map(([pause, one]) => {
      at += pause;
      return [at, one] as const;
    });
  };

  it('the final state is recognized, whatever was seen before', () => {
    fc.assert(fc.property(task, steps, (one, list) => verdicts(one, timed([...list, [1, doneOf(one)]])).at(-1)?.state === 'settled'));
  });

  it('the verdict depends on the last answer and on times only', () => {
    fc.assert(
      fc.property(task, steps, answer, (one, list, last) => {
        const [direct] = verdicts(one, [[1, last]]);
        const seen = verdicts(one, timed([...list, [1, last]])).at(-1);
        // Settled is never a matter of time.
        return (direct?.state === 'settled') === (seen?.state === 'settled');
      }),
    );
  });

  it('no task works for ever: without a change it ends within the limit', () => {
    fc.assert(
      fc.property(task, answer, fc.integer({ min: settlingLimits.stuckMs, max: 1e9 }), (one, same, later) => {
        const [, second] = verdicts(one, [
          [0, same],
          [later, same],
        ]);
        return second?.state !== 'working';
      }),
    );
  });

  it('stuck is only said of a server that did not change for the whole limit', () => {
    fc.assert(
      fc.property(task, steps, (one, list) => {
        const answers = timed(list);
        return verdicts(one, answers).every((verdict, at) => {
          if (verdict.state !== 'stuck') return true;
          const same = answers.slice(0, at + 1).findLastIndex(([, other]) => stateOf(other) !== stateOf(answers[at]?.[1]));
          const begin = answers[same + 1]?.[0] ?? 0;
          return (answers[at]?.[0] ?? 0) - begin >= settlingLimits.stuckMs || same === -1;
        });
      }),
    );
  });

  it('a failure has a reason of one line that is safe to show', () => {
    fc.assert(
      fc.property(task, answer, (one, last) => {
        const [verdict] = verdicts(one, [[settlingLimits.stuckMs, last]]);
        return verdict === undefined || !('reason' in verdict) || (verdict.reason.length > 0 && !/[\p{Cc}\n]/u.test(verdict.reason));
      }),
    );
  });

  it('a server that is being stopped is not being rebuilt', () => {
    expect(isUnderWay({ kind: 'rebuild', imageId: image, endsIn: 'either' }, server('ACTIVE', 'powering-off'))).toBe(false);
    expect(isUnderWay({ kind: 'rebuild', imageId: image, endsIn: 'either' }, server('REBUILD', 'rebuilding'))).toBe(true);
  });

  it('a task that is settled is under way, except a rebuild, which may be an older one', () => {
    for (const one of tasks) expect([one.kind, isUnderWay(one, doneOf(one))]).toEqual([one.kind, one.kind !== 'rebuild']);
  });
});
