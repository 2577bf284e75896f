import { describe, expect, it } from 'vitest';
import { describeHolder, formatLockNote, parseLockNote } from '../../../src/core/lock.js';

describe('the note in a lock file', () => {
  const note = { pid: 42, startTicks: 4711, verb: 'base add', since: '2026-11-25T10:31:02.123Z' };

  it('is read back as written, even with only a pid', () => {
    expect(parseLockNote(formatLockNote(note))).toEqual(note);
    expect(parseLockNote(formatLockNote({ pid: 42 }))).toEqual({ pid: 42, verb: undefined, since: undefined });
    // The format of older versions.
    expect(parseLockNote('pid 42\n')?.pid).toBe(42);
  });

  it('is ignored if truncated, and validated if written by others', () => {
    for (const text of ['', 'pi', 'pid', 'pid \n', 'pid x\n', 'pid 99999999999\n', '\0\0\0']) expect(parseLockNote(text)).toBeUndefined();
    expect(parseLockNote('pid 42\nverb \u001b[31mred\nsince soon\nstart x\n')).toEqual({ pid: 42, verb: undefined, since: undefined });
  });

  it('is described', () => {
    expect(describeHolder({ kind: 'run', ...note })).toBe('"cowherd base add" (pid 42, since 2026-11-25 10:31:02 UTC)');
    expect(describeHolder({ kind: 'run', pid: 42 })).toBe('another run of cowherd (pid 42)');
    expect(describeHolder({ kind: 'orphan', ...note, pid: 7, command: 'virsh' })).toBe(
      'virsh (pid 7), started by a run of cowherd that has ended (base add, since 2026-11-25 10:31:02 UTC)',
    );
    expect(describeHolder({ kind: 'stranger', pid: 7, command: 'flock' })).toBe('another program, not cowherd (flock, pid 7)');
    expect(describeHolder({ kind: 'unknown' })).toBe('a process that this user cannot see');
  });
});
