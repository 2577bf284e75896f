import { describe, expect, it } from 'vitest';
import { bytes as cliBytes } from '../../../src/cli/terminal/format.js';
import type { ActionPlan, JobView } from '../../../src/dashboard/protocol.js';
import { parseSafely } from '../../../src/dashboard/web/net/safe-json.js';
import { endedJobs } from '../../../src/dashboard/web/store/finished-jobs.js';
import { fleetLink, memberLink, routeOf } from '../../../src/dashboard/web/store/route.js';
import { failureGroups } from '../../../src/dashboard/web/text/failure-groups.js';
import { bytes, duration, percent, since } from '../../../src/dashboard/web/text/format.js';
import { jobResult, jobTitle } from '../../../src/dashboard/web/text/job-text.js';
import { lossText, stepGroups } from '../../../src/dashboard/web/text/plan-text.js';

const job = (more: Partial<JobView> = {}): JobView => ({
  ...{ id: 'a', request: { verb: 'reset', fleet: 'lab', members: [1, 2, 3] }, startedAt: '', endedAt: null, state: 'running' },
  ...{ progress: null, counts: {}, failures: [], error: null, notes: [] },
  ...more,
});

describe('texts of the page', () => {
  it('shows sizes as the command line does', () => {
    const sizes = [0, 1, 512, 1023, 1024, 1536, 10_000, 340 * 2 ** 20, 1023.9 * 1024, 2 ** 30 - 1, 1.25 * 2 ** 30, 5 * 2 ** 40, -70_000];
    expect(sizes.map(bytes)).toEqual(sizes.map(cliBytes));
  });

  it('shows durations and shares', () => {
    expect([0, 59, 60, 3599, 7200, 200_000].map(duration)).toEqual(['0 s', '59 s', '1 min', '59 min', '2 h', '2 d']);
    expect(since('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:05:00Z'))).toBe('5 min');
    expect([since(null, 0), since('x', 0)]).toEqual(['', '']);
    expect([percent(1, 3), percent(9999, 10_000), percent(1, 1), percent(1, 0)]).toEqual(['33.3 %', '99.9 %', '100 %', '0 %']);
  });

  it('groups the steps of a plan', () => {
    const steps: ActionPlan['steps'] = [1, 2, 3, 7].map((index) => ({
      index,
      name: `lab-${index}`,
      steps: ['stop', 'overlay'],
      why: 'drifted',
    }));
    expect(stepGroups([...steps, { index: 4, name: 'lab-4', steps: ['start'], why: 'off' }])).toEqual([
      { count: 4, indexes: '1-3,7', steps: 'stop, create disks', why: 'drifted' },
      { count: 1, indexes: '4', steps: 'start', why: 'off' },
    ]);
  });

  it('names what would be lost', () => {
    const loss = { members: 3, running: 1, driftBytes: 340 * 2 ** 20, checkpoints: 2 };
    expect(lossText('reset', loss)).toBe(
      'This discards 340 MiB written by 3 members and 2 checkpoints. 1 running guest is forced off. It cannot be undone.',
    );
    expect(lossText('reset', { ...loss, driftBytes: 0, running: 0, checkpoints: 1 })).toBe(
      'This discards 1 checkpoint. It cannot be undone.',
    );
    expect(lossText('teardown', { members: 1, running: 0, driftBytes: 0, checkpoints: 0 })).toBe(
      'This removes 1 member. It cannot be undone.',
    );
    expect(lossText('teardown', loss)).toMatch(
      /^This removes 3 members, and discards 340 MiB written by 3 members and 2 checkpoints\. 1 running/,
    );
  });

  it('groups failures that differ in the name only', () => {
    const failure = (index: number, message: string): JobView['failures'][number] => ({
      ...{ index, name: `lab-00${index}`, error: { code: 'NOT_STOPPED', message, hint: 'Force it off' } },
    });
    const groups = failureGroups([failure(1, 'lab-001 did not stop'), failure(2, 'lab-002 did not stop'), failure(3, 'disk is full')]);
    expect(groups.map(({ members, count, error }) => [members, count, error.message])).toEqual([
      ['1-2', 2, 'did not stop'],
      ['lab-003', 1, 'disk is full'],
    ]);
  });

  it('describes jobs', () => {
    expect(jobTitle(job())).toBe('Reset 3 members of lab');
    expect(jobResult(job())).toBe('in progress');
    expect(jobResult(job({ progress: { stage: 'stop', done: 1, total: 3 } }))).toBe('stopping: 1 of 3');
    expect(jobResult(job({ progress: { stage: 'unlink', done: 0, total: 0 } }))).toBe('removing files');
    expect(jobResult(job({ state: 'failed', counts: { reset: 2, failed: 1, created: 0 } }))).toBe('2 reset, 1 failed');
    expect(jobResult(job({ state: 'done', counts: { started: 3, reset: 3 } }))).toBe('3 reset');
    expect(jobResult(job({ state: 'failed', counts: { started: 1, failed: 1, reset: 2 } }))).toBe('2 reset, 1 started, 1 failed');
    expect(jobResult(job({ state: 'interrupted', counts: { cancelled: 3 } }))).toBe('interrupted: 3 not done');
  });

  it('announces jobs once, when they end', () => {
    const done = job({ state: 'done', counts: { reset: 3 } });
    const watched = new Set<string>();
    expect(endedJobs(watched, [job()])).toEqual([]);
    expect(endedJobs(watched, [done])).toEqual(['Reset 3 members of lab: 3 reset']);
    expect(endedJobs(watched, [done])).toEqual([]);
    expect(endedJobs(new Set(), [done])).toEqual([]);
  });
});

describe('addresses of the page', () => {
  it.each([
    ['', { page: 'fleets' }],
    ['#/', { page: 'fleets' }],
    ['#/fleet/', { page: 'fleets' }],
    ['#/fleet/%E0%A4%A', { page: 'fleets' }],
    [fleetLink('lab'), { page: 'fleet', fleet: 'lab' }],
    [fleetLink('a/b#c'), { page: 'fleet', fleet: 'a/b#c' }],
    [memberLink('lab', 3), { page: 'member', fleet: 'lab', index: 3 }],
    ['#/fleet/lab/x', { page: 'fleet', fleet: 'lab' }],
  ])('%s', (hash, route) => {
    expect(routeOf(hash)).toEqual(route);
  });
});

describe('what the server sends', () => {
  it('cannot control or reorder text', () => {
    const sent = JSON.stringify({ name: 'a\u202eb', line: 'x\u001b[2J\u0007', list: ['\u0085', 'one\ntwo\t'], count: 3 });
    expect(parseSafely(sent)).toEqual({ name: 'a\\u202eb', line: 'x\\x1b[2J\\x07', list: ['\\x85', 'one\ntwo\t'], count: 3 });
  });

  it('is unchanged otherwise', () => {
    expect(parseSafely('{"a":"<b>é → 漢</b>"}')).toEqual({ a: '<b>é → 漢</b>' });
  });
});
