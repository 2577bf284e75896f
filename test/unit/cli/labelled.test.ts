import { describe, expect, it } from 'vitest';
import { renderGrouped } from '../../../src/cli/render/guests.js';
import { LabelledLines } from '../../../src/cli/terminal/labelled.js';
import { type GuestText, guestText } from '../../../src/core/guest/text.js';
import type { ExecOutcome, MemberExec } from '../../../src/services/guest/exec.js';

const shown = (raw: boolean, work: (lines: LabelledLines, push: (name: string, text: string) => void) => void): string[] => {
  const printed: string[] = [];
  const lines = new LabelledLines((line) => printed.push(line), raw);
  lines.align(['a', 'bcd']);
  work(lines, (name, text) => lines.push(name, guestText(text)));
  return printed;
};

describe('lines of many guests', () => {
  it('are complete and follow the name of their member, however the text is split', () => {
    const printed = shown(false, (lines, push) => {
      push('a', 'one\ntw');
      push('bcd', 'x');
      push('a', 'o\r');
      push('a', '\nthree');
      lines.end('a');
      lines.end('bcd');
      lines.end('a');
    });
    expect(printed).toEqual(['a   | one', 'a   | two', 'a   | three', 'bcd | x']);
  });

  it('cannot overwrite a name or control the terminal, unless requested', () => {
    const hostile = 'ok\rbcd | forged\n\u001b[2Jgone\u001b]0;title';
    const ending = (lines: LabelledLines, push: (name: string, text: string) => void): void => {
      push('a', hostile);
      push('a', '\u0007end');
      lines.end('a');
    };
    expect(shown(false, ending)).toEqual(['a   | ok\\x0dbcd | forged', 'a   | goneend']);
    expect(shown(true, ending)[2]).toBe('a   | \u001b[2Jgone\u001b]0;title\u0007end');
  });

  it('are split if a guest never ends one, so that memory is bounded', () => {
    const printed = shown(false, (_lines, push) => {
      for (let round = 0; round < 100; round++) push('a', 'x'.repeat(1024));
    });
    expect(printed.length).toBeGreaterThanOrEqual(5);
  });
});

describe('grouped output', () => {
  const member = (index: number, stdout: string, more: Partial<MemberExec> = {}): MemberExec => ({
    index,
    name: `lab-00${index}`,
    via: 'agent',
    exitCode: 0,
    stdout: stdout as GuestText,
    stderr: guestText(''),
    truncated: false,
    ...more,
  });
  const outcome = (fleet: string, members: MemberExec[]): ExecOutcome => ({
    fleet,
    command: ['x'],
    counts: { ok: 0, failed: 0 },
    interrupted: false,
    members,
  });

  it('shows identical output once, with its members', () => {
    const off = (index: number) =>
      member(index, '', { via: null, exitCode: null, error: { code: 'GUEST_UNREACHABLE', message: `lab-00${index} is off` } });
    const text = renderGrouped(
      [
        outcome('lab', [member(1, '6.1\n'), member(2, '6.1\n'), member(3, '5.10\n', { exitCode: 1 }), off(4), off(5)]),
        outcome('web', [member(1, '6.1\n')]),
      ],
      false,
    );
    expect(text.split('\n')).toEqual([
      'lab 1-2, web 1 (3 members)',
      '  | 6.1',
      'lab 3 (1 member)',
      '  | 5.10',
      '  ! exit 1',
      'lab 4-5 (2 members)',
      '  ! MEMBER is off',
    ]);
  });
});
