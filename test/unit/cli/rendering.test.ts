import { afterEach, describe, expect, it, vi } from 'vitest';
import { renderFailures } from '../../../src/cli/render/failures.js';
import { renderOutcome } from '../../../src/cli/render/outcome.js';
import { elapsed } from '../../../src/cli/terminal/format.js';
import { displayWidth, wrap } from '../../../src/cli/terminal/layout.js';
import { forStream, paint } from '../../../src/cli/terminal/style.js';
import { table } from '../../../src/cli/terminal/table.js';
import { renderBars, Work } from '../../../src/cli/terminal/work.js';
import { formatDuration } from '../../../src/core/duration.js';
import type { Outcome } from '../../../src/core/fleet/outcome.js';
import type { ReadyStage } from '../../../src/core/guest/stages.js';

const lines = (text: string): string[] => text.split('\n');

describe('durations', () => {
  it.each([
    [0, '0 s'],
    [1642.3463989999991, '1.6 s'],
    [9_960, '10 s'],
    [33_400, '33 s'],
    [119_600, '2 min'],
    [200_000, '3 min 20 s'],
    [7_500_000, '2 h 5 min'],
  ])('of %d ms are formatted for display', (ms, text) => expect(formatDuration(ms)).toBe(text));

  it('are shown like a clock while they run', () => expect([33, 725, 3723].map(elapsed)).toEqual(['0:33', '12:05', '1:02:03']));
});

describe('text on a terminal', () => {
  it('is wrapped between words, and indented below its prefix', () => {
    const text = '  → Their overlays are worth nothing without it. First: cowherd teardown lab';
    expect(wrap(text, 40)).toBe('  → Their overlays are worth nothing\n    without it. First: cowherd teardown\n    lab');
    expect(wrap(text, undefined)).toBe(text);
  });

  it('keeps words that are wider than the terminal', () => {
    expect(lines(wrap(`see ${'x'.repeat(50)} there`, 30))).toEqual(['see', 'x'.repeat(50), 'there']);
  });

  it('is not wrapped to an unreadably narrow column', () => expect(wrap('a long line of words', 10)).toBe('a long line of words'));
});

describe('a table', () => {
  const rows = [
    { name: 'a-fleet-with-a-long-name-001', size: '1 MiB', why: 'it does not answer and nothing is known of it' },
    { name: 'lab-002', size: '12 MiB', why: 'booted' },
  ];
  const columns = [
    { title: 'MEMBER', value: (row: (typeof rows)[number]) => row.name },
    { title: 'DRIFT', value: (row: (typeof rows)[number]) => row.size, align: 'right' as const },
    { title: 'REASON', value: (row: (typeof rows)[number]) => row.why },
  ];

  it('shows everything if it is not on a terminal', () => {
    expect(lines(table(rows, columns))[1]).toBe('a-fleet-with-a-long-name-001   1 MiB  it does not answer and nothing is known of it');
  });

  it('wraps its last column, shortens names, and omits columns, in this order', () => {
    expect(lines(table(rows, columns, 70)).slice(0, 3)).toEqual([
      'MEMBER                         DRIFT  REASON',
      'a-fleet-with-a-long-name-001   1 MiB  it does not answer and nothing',
      '                                      is known of it',
    ]);
    expect(lines(table(rows, columns, 50))[1]).toBe('a-fleet-…ame-001   1 MiB  it does not answer and');
    expect(lines(table(rows, columns, 40))[0]).toBe('MEMBER          REASON');
  });

  it.each([40, 50, 60, 70, 80, 160])('is not wider than %d columns', (width) => {
    for (const line of lines(table(rows, columns, width))) expect(displayWidth(line)).toBeLessThanOrEqual(width);
  });
});

describe('bars', () => {
  const wait = (done: number, failed: number, pending: Array<[ReadyStage, string[]]>, total = 6) => ({
    kind: 'stage' as const,
    stage: 'wait' as const,
    done,
    total,
    failed,
    pending: new Map(pending.map(([stage, names]) => [stage, new Set(names)])),
  });
  const four = ['lab-003', 'lab-004', 'lab-005', 'lab-006'];

  it('show the waiting time, and which members wait for what', () => {
    const work = new Work(wait(0, 0, []), 0);
    work.update(
      wait(2, 0, [
        ['address', []],
        ['ssh', four],
      ]),
      500,
    );
    expect(renderBars([work], 80, 33_900)).toBe('██████░░░░░░░░░░░░░░ waiting 2/6 · 0:33 · ssh: 003 004 005 006');
    work.update(wait(2, 4, [['ssh', four]]), 60_000);
    expect(renderBars([work], 80, 99_000)).toContain('waiting 2/6 · 4 failed · 1:00 · ssh: 003');
  });

  it('name a few members of many, and are never wider than the terminal', () => {
    const many = Array.from({ length: 1000 }, (_, position) => `lab-${String(position + 1).padStart(4, '0')}`);
    const work = new Work(
      wait(
        0,
        0,
        [
          ['address', many.slice(0, 500)],
          ['ssh', many.slice(500)],
        ],
        1000,
      ),
      0,
    );
    expect(renderBars([work], 160, 1000)).toContain('address: 0001 0002 0003 0004 0005 0006 0007 0008 +492 · ssh: 0501');
    for (const width of [20, 40, 80]) expect(displayWidth(renderBars([work], width, 1000))).toBeLessThan(width);
  });

  it('are cut if they are too long, including colors', () => {
    vi.stubEnv('FORCE_COLOR', '1');
    const line = forStream(renderBars([new Work(wait(2, 4, [['ssh', four]]), 0)], 44, 0), { isTTY: true } as NodeJS.WriteStream);
    vi.unstubAllEnvs();
    expect(line).toBe('███░░░░░░░ waiting 2/6\u001b[31m · 4 failed\u001b[39m · 0:00 ·…');
  });

  it('count all batches together, including failures', () => {
    const step = (done: number, total: number, failed = 0) => ({ kind: 'stage' as const, stage: 'start' as const, done, total, failed });
    const work = new Work(step(1, 1), 0);
    for (const event of [step(1, 3), step(1, 3, 1), step(2, 3, 1), step(1, 1)]) work.update(event, 0);
    expect(renderBars([work], 80, 0)).toContain('starting 4/5 · 1 failed');
  });

  it('are in the order in which a member reaches them', () => {
    const works = (['wait', 'overlay', 'stop'] as const).map((stage) => new Work({ kind: 'stage', stage, done: 1, total: 1 }, 0));
    expect(lines(renderBars(works, 80, 0)).map((line) => line.replace(/█+ /, ''))).toEqual([
      'stopping 1/1',
      'creating disks 1/1',
      'waiting 1/1',
    ]);
  });
});

describe('members that failed', () => {
  const failed = (number: number, message: string, hint = 'Look.', details: string[] = []) => {
    const name = `lab-00${number}`;
    return {
      name,
      doing: 'start',
      error: { code: 'X', message: message.replaceAll('NAME', name), hint: hint.replaceAll('NAME', name), details },
    };
  };

  it('for one reason share one line and one hint if only the member differs', () => {
    const all = [1, 2, 3, 4, 7].map((number) =>
      failed(number, `NAME did not come up within 2 s: no lease for 52:54:00:00:00:0${number} (10.0.0.${number})`, 'See cowherd logs NAME'),
    );
    expect(renderFailures(all)).toEqual([
      '  lab 1-4,7 (5 members, start): did not come up within 2 s: no lease for 52:54:00:00:00:01 (10.0.0.1)',
      '  → See cowherd logs lab-001',
    ]);
  });

  it('for different reasons have separate lines, and share an identical hint', () => {
    expect(
      renderFailures([
        failed(1, 'no disk'),
        failed(2, 'no network'),
        failed(3, 'no disk'),
        failed(4, 'exit 1', 'Else.'),
        failed(5, 'exit 2', 'Else.'),
      ]),
    ).toEqual([
      '  lab-001, lab-003 (start): no disk',
      '  lab-002 (start): no network',
      '  → Look.',
      '  lab-004 (start): exit 1',
      '  lab-005 (start): exit 2',
      '  → Else.',
    ]);
  });

  it('show the output of each of a few, identical output once', () => {
    expect(renderFailures([1, 2].map((number) => failed(number, 'a', 'Look.', [`console of lab-00${number} is empty`])))[1]).toBe(
      '      console of lab-001 is empty',
    );
    expect(renderFailures([failed(1, 'a', 'Look.', ['x']), failed(2, 'a', 'Look.', ['y'])]).slice(1, 3)).toEqual([
      '      lab-001: x',
      '      lab-002: y',
    ]);
  });

  it('take few lines, however many they are', () => {
    const all = Array.from({ length: 1000 }, (_, position) => failed(position, `reason ${position}`));
    expect(renderFailures(all)).toHaveLength(22);
  });
});

describe('the result of a command', () => {
  const member = (index: number, outcome: string, more: object = {}) => ({ index, name: `lab-00${index}`, outcome, ...more });
  const outcome = (verb: string, counts: object, members: object[]): Outcome =>
    ({
      fleet: 'lab',
      operation: { verb, id: '', seconds: 4.13, interrupted: false },
      counts: { created: 0, unchanged: 0, started: 0, failed: 0, ...counts },
      stages: [],
      members,
      notes: [],
    }) as unknown as Outcome;
  const first = (result: Outcome): string | undefined => lines(renderOutcome(result))[0];

  it('says what happened, and at which step members failed', () => {
    const refused = [4, 5, 6].map((index) => member(index, 'failed', { step: 'start', error: { code: 'X', message: 'no' } }));
    expect(
      first(outcome('reset', { reset: 3, started: 3, failed: 3 }, [1, 2, 3].map((index) => member(index, 'reset')).concat(refused))),
    ).toBe('lab: 3 reset, 3 failed to start in 4.1 s');
  });

  it('counts members by their outcome, even if they were not ready in time', () => {
    const late = member(2, 'failed', { became: 'created', step: 'wait', error: { code: 'X', message: 'no' } });
    expect(first(outcome('spawn', { created: 1, started: 2, failed: 1 }, [member(1, 'created'), late]))).toBe(
      'lab: 2 created, 2 started, 1 not ready in time in 4.1 s',
    );
  });
});

describe('colors', () => {
  const terminal = { isTTY: true } as NodeJS.WriteStream;
  afterEach(() => void vi.unstubAllEnvs());

  it('come only from cowherd, never from the text', () => {
    vi.stubEnv('FORCE_COLOR', '1');
    const painted = paint('bad', 'a\u001b[32mb');
    expect(forStream(painted, terminal)).toBe('\u001b[31ma\\x1b[32mb\u001b[39m');
    expect(displayWidth(paint('bad', 'three'))).toBe(5);
    vi.stubEnv('FORCE_COLOR', '0');
    expect(forStream(painted, terminal)).toBe('a\\x1b[32mb');
  });
});
