import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseOsRelease } from '../../../../src/core/image/os-release.js';

describe('os-release', () => {
  it.each([
    [
      'Debian',
      'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
      { id: 'debian', version: '12', name: 'Debian GNU/Linux 12 (bookworm)' },
    ],
    [
      'openSUSE',
      "ID='opensuse-leap'\nVERSION_ID=15.6\nPRETTY_NAME='openSUSE Leap 15.6'",
      { id: 'opensuse-leap', version: '15.6', name: 'openSUSE Leap 15.6' },
    ],
    ['a rolling release', 'ID=arch\nNAME="Arch Linux"', { id: 'arch', name: 'Arch Linux' }],
    ['quoted characters', 'ID=x\nPRETTY_NAME="The \\"best\\" \\$ \\\\ of \\all"', { id: 'x', name: String.raw`The "best" $ \ of \all` }],
    ['escaped words', 'ID=x\nPRETTY_NAME=Tiny\\ Linux', { id: 'x', name: 'Tiny Linux' }],
    ['Windows line ends, comments and blanks', '# one\r\n\r\n  ID=x\r\nVERSION_ID="1"\r\n', { id: 'x', version: '1' }],
    ['the last of several', 'ID=a\nID=b', { id: 'b' }],
    ['no ID', 'PRETTY_NAME="Some Linux"', { id: 'linux', name: 'Some Linux' }],
  ])('of %s', (_, text, os) => {
    expect(parseOsRelease(text)).toEqual(os);
  });

  it.each([
    ['', undefined],
    ['nothing here', undefined],
    ['ID=$(reboot)', undefined],
    ['ID="a"\'b\'', undefined],
    ['ID="open', undefined],
    ['ID=Two Words', undefined],
    ['ID=UPPER', undefined],
    [`ID=${'a'.repeat(65)}`, undefined],
    ['ID=x\nVERSION_ID="1; rm -rf /"', { id: 'x' }],
    ['ID=x\nPRETTY_NAME="$HOME"', { id: 'x' }],
    ['ID=x\nPRETTY_NAME="`id`"', { id: 'x' }],
  ])('%j', (text, os) => {
    expect(parseOsRelease(text)).toEqual(os);
  });

  it('cannot control the terminal', () => {
    expect(parseOsRelease('ID=x\nPRETTY_NAME="\u001b[31mred\u202e\u0007"')).toEqual({ id: 'x', name: '?[31mred??' });
    expect(parseOsRelease(`ID=x\nPRETTY_NAME="${'long '.repeat(1000)}"`)?.name).toHaveLength(99);
  });

  it('is bounded and printable, whatever the file contains', () => {
    const line = fc.tuple(
      fc.constantFrom('ID', 'VERSION_ID', 'PRETTY_NAME', 'NAME'),
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.constantFrom('', '"', "'"),
    );
    const file = fc.array(line).map((lines) => lines.map(([key, value, quote]) => `${key}=${quote}${value}${quote}`).join('\n'));
    fc.assert(
      fc.property(fc.oneof(file, fc.string({ unit: 'binary' })), (text) => {
        const os = parseOsRelease(text);
        if (os === undefined) return;
        expect(os.id).toMatch(/^[a-z0-9][a-z0-9._~+^-]{0,63}$/);
        expect(os.version ?? '1').toMatch(/^[a-z0-9][a-z0-9._~+^-]{0,63}$/);
        expect(os.name ?? 'x').toMatch(/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]+$/u);
        expect([...(os.name ?? '')].length).toBeLessThanOrEqual(100);
      }),
    );
  });
});
