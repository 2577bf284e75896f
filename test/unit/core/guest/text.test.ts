import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DisplayStream, displayText, escapeUnsafe, excerpt, excerptLines, guestText } from '../../../../src/core/guest/text.js';
import { shownOutputs } from '../../../fixtures/exec.js';
import { runsOf } from '../../../support/long.js';

/** Parts of terminal sequences. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '\u001b',
        '\u001b[',
        '\u001b[6n',
        '\u001b[31m',
        '\u001b]0;title\u0007',
        '\u001b]52;c;eA==',
        '\u001b\\',
        '\u009b6n',
        '\u009d',
      ),
      fc.constantFrom(
        '\r',
        '\r\n',
        '\n',
        '\t',
        '\0',
        '\u0008',
        '\u007f',
        '\u202e',
        '\u2066',
        '\u2028',
        ';41R',
        '%',
        '\u0024{x}',
        '$(id)',
        '"',
        "'",
      ),
      fc.string({ unit: 'binary', maxLength: 20 }),
    ),
    { maxLength: 40 },
  )
  .map((parts) => parts.join(''));

const obeyed = /(?![\n\t])\p{Cc}|\p{Bidi_Control}|[\u2028\u2029]/u;

describe('text of a guest on a terminal', () => {
  it('never has a terminal control character', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        expect(displayText(text)).not.toMatch(obeyed);
        expect(escapeUnsafe(text)).not.toMatch(obeyed);
        expect(excerpt(text)).not.toMatch(/\n/);
        expect(excerpt(text).length).toBeLessThanOrEqual(300);
      }),
      { numRuns: runsOf(2_000) },
    );
  });

  it('keeps plain text unchanged', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        fc.pre(!obeyed.test(text));
        expect(displayText(text)).toBe(text);
      }),
    );
  });

  it('loses colors, titles and cursor movements, and shows the rest of broken sequences', () => {
    expect(displayText('\u001b[0;32m  OK  \u001b[0m started\r\n')).toBe('  OK   started\n');
    expect(displayText('a\u001b]0;owned\u0007b\u001b]8;;http://x\u001b\\c')).toBe('abc');
    expect(displayText('\u001b[6n')).toBe('');
    expect(displayText('\u001b[\u001b[6n;41R')).toBe('\\x1b[;41R');
    expect(displayText('50 %\rover')).toBe('50 %\\x0dover');
  });

  it('is the same in one chunk and in several', () => {
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 6 }), (pieces) => {
        const stream = new DisplayStream();
        const shown = [...pieces.map((piece) => stream.push(piece)), stream.end()].join('');
        expect(shown).not.toMatch(obeyed);
      }),
      { numRuns: runsOf(1_000) },
    );
    const stream = new DisplayStream();
    expect(['a\u001b', '[3', '1mb\r', '\nc', '\u001b]0;x'].map((piece) => stream.push(piece))).toEqual(['a', '', 'b', '\nc', '']);
    expect(stream.end()).toBe('\\x1b]0;x');
  });

  it('takes linear time for any input', () => {
    for (const piece of ['\u001b', '\u001b[', '\u001b]', '\u001b]x', '\u001b[1;', '\r', '\u001bP', '\u009b'])
      expect(displayText(piece.repeat(200_000 / piece.length))).not.toMatch(obeyed);
  }, 20_000);

  it('cannot fake the label of another member', () => {
    const member = { index: 1, name: 'lab-001', via: 'agent' as const, exitCode: 0, stderr: guestText(''), truncated: false };
    const outcome = {
      ...{ fleet: 'lab', command: ['x'], counts: { ok: 1, failed: 0 }, interrupted: false },
      members: [{ ...member, stdout: guestText('a\rlab-002 | b\r\nc\u001b[1Ad\n') }],
    };
    expect(shownOutputs(outcome, false)).toBe('lab-001 | a\\x0dlab-002 | b\nlab-001 | cd');
    expect(shownOutputs(outcome, true)).toBe('lab-001 | a\nlab-001 | lab-002 | b\nlab-001 | c\u001b[1Ad');
  });

  it('is quoted by its last lines, each cut', () => {
    expect(excerptLines('one\r\n\r\ntwo\u001b[0m\n')).toEqual(['one', 'two']);
    expect(excerptLines(`${'x'.repeat(1_000)}\n`, 1)[0]).toHaveLength(300);
  });
});
