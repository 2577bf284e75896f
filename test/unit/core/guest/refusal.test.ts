import { expect, it } from 'vitest';
import { refusalHint, refusalReason } from '../../../../src/core/guest/refusal.js';

it.each([
  // qemu-ga 7.2
  ["Guest agent command failed, error was 'Failed to execute child process “nonesuch” (No such file or directory)'", 'program not started'],
  ['Command guest-exec has been disabled for this instance', 'forbidden'],
  // qemu-ga 9.2
  ['Command guest-exec has been disabled: the command is not allowed', 'forbidden'],
  ['failed to write to file, handle: 1000: No space left on device', 'no space'],
  ["failed to open file '/nonesuch' (mode: 'r'): No such file or directory", 'other'],
] as const)('tells why a guest agent refused: %s', (text, reason) => {
  expect(refusalReason(text)).toBe(reason);
});

it('has a hint for each reason', () => {
  expect(refusalHint('forbidden', 'lab-001')).toContain('BLACKLIST_RPC');
  expect(refusalHint('no space', 'lab-001')).toContain('cowherd exec lab-001 -- df -h');
  expect(refusalHint('other', 'lab-001')).toContain('--via ssh');
});
