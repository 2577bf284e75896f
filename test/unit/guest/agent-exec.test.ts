import { describe, expect, it } from 'vitest';
import { execByAgent } from '../../../src/services/guest/agent-exec.js';

/** Runs a program that takes some time. @returns when the agent was asked whether it has exited, in milliseconds */
async function askedAt(takesMs: number, answerMs: number, options: { leastMs?: number; pauseFactor?: number }): Promise<number[]> {
  let now = 0;
  const asked: number[] = [];
  const clock = {
    now: () => new Date(now),
    monotonic: () => now,
    sleep: async (ms: number) => {
      now += ms;
    },
  };
  const agent = {
    command: async (_: string, command: object) => {
      now += answerMs;
      if ('execute' in command && command.execute === 'guest-exec') return { pid: 1 };
      asked.push(Math.round(now));
      return now < takesMs ? { exited: false } : { exited: true, exitcode: 0 };
    },
  };
  await execByAgent({ agent, clock }, 'lab-001', ['true'], { timeoutMs: 60_000, keepBytes: 0, ...options });
  return asked;
}

describe('a program run by the agent', () => {
  it('is asked for soon, and then less often', async () => {
    expect((await askedAt(2_000, 1, {})).slice(0, 4)).toEqual([2, 53, 129, 243]);
  });

  it('is asked for rarely if each answer takes a busy guest some time', async () => {
    const usual = await askedAt(5_000, 100, { leastMs: 100 });
    const sparing = await askedAt(5_000, 100, { leastMs: 100, pauseFactor: 4 });
    expect(sparing[0]).toBe(600);
    expect(sparing.length).toBeLessThan(usual.length);
    // Its end is noticed within a second.
    expect(sparing.at(-1)).toBeLessThan(6_200);
  });

  it('is asked for as soon as otherwise if the guest answers at once', async () => {
    expect((await askedAt(400, 0, { leastMs: 100, pauseFactor: 4 })).slice(0, 3)).toEqual([100, 150, 225]);
  });
});
