import { describe, expect, it } from 'vitest';
import { usageText } from '../../../src/cli/render/errors.js';

describe("oclif's messages about a command line", () => {
  it.each([
    [
      'The following error occurred:\n  \u001b[2mOne of the following must be provided when using --share-tpm: --boot-once\u001b[22m\nSee more help with --help',
      'One of the following must be provided when using --share-tpm: --boot-once',
    ],
    ['The following errors occurred:\n  \u001b[2mfirst\u001b[22m\n  second', 'first second'],
    ['Unexpected argument: x\nSee more help with --help', 'Unexpected argument: x'],
  ])('are one line without colors: %j', (message, text) => {
    expect(usageText(message)).toBe(text);
  });
});
