import fc from 'fast-check';

/** Text that a hostile guest might send, to break an output format or to run a command. */

/** Created if a command sent by a guest is run. No test may find it. */
export const canary = '/tmp/cwt-canary';

const commands = [
  `\n  ProxyCommand touch ${canary}\n#`,
  `\n  LocalCommand touch ${canary}\n  PermitLocalCommand yes\n#`,
  `\nMatch exec "touch ${canary}"\n#`,
  `\n  KnownHostsCommand /usr/bin/touch ${canary}\n  Include ${canary}\n`,
  `;touch ${canary};`,
  `$(touch ${canary})`,
  `\`touch ${canary}\``,
  `\${x:=$(touch ${canary})}`,
  `'; touch ${canary}; '`,
  `"; touch ${canary}; "`,
  `\ntouch ${canary}\n`,
  `-oProxyCommand=touch ${canary}`,
  `{{ lookup('pipe', 'touch ${canary}') }}`,
  `{% for x in y %}{{ x }}{% endfor %}`,
  `!!python/object/apply:os.system ["touch ${canary}"]`,
  `!unsafe x: {a: b}\n- &a *a`,
  `=cmd|' /c touch ${canary}'!A1`,
  `+1,"a\n",b`,
  `</name><os><kernel>${canary}</kernel></os>`,
  `]]><!ENTITY x SYSTEM "file:///etc/passwd">&x;`,
  `@cert-authority * ssh-rsa AAAA`,
  `../../../../..${canary}`,
  `%h%p%r%%%n%{x}`,
];

const terminal = [
  '\u001b]0;title\u0007',
  '\u001b]8;;http://example.org\u001b\\link\u001b]8;;\u001b\\',
  '\u001b]52;c;dG91Y2g=\u0007',
  '\u001b[2J\u001b[5;5H',
  '\u001b[31;5mred',
  '\u001b[999D',
  '\u001bc',
  '\u001bP+q544e\u001b\\',
  '\u009b31m',
  '\u009d0;title\u009c',
  '\u0085',
  '\r',
  '\rcwt-001 | forged',
  '\b\b\b\b',
  '\u0007',
  '\u000b\u000c',
  '\u007f',
  '\u0000',
  '\u202e\u2066evil\u2069',
  '\u2028\u2029',
  '\ufeff\u200b',
];

const addresses = [
  '10.9.9.9',
  '10.9.9.9 ',
  '010.9.9.9',
  '10.9.9',
  '0x7f.1',
  '127.0.0.1',
  '999.1.1.1',
  '0.0.0.0',
  '255.255.255.255',
  '10.9.9.9/8',
  '10.9.9.9#',
  'fe80::1%eth0',
  '::1',
  'example.org',
  '-oX=y',
];

const plain = [
  '',
  ' ',
  '\t',
  'a',
  "'",
  '"',
  "'\"'\"'",
  '\\',
  '\\\\"',
  '%',
  `\${HOME}`,
  '~',
  '*',
  '#',
  ',',
  ':',
  '|',
  '&',
  '<',
  '>',
  '=',
  'ü',
  '日',
  '😀',
];

const piece = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...commands) },
  { weight: 3, arbitrary: fc.constantFrom(...terminal) },
  { weight: 2, arbitrary: fc.constantFrom(...addresses) },
  { weight: 2, arbitrary: fc.constantFrom(...plain) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 8 }) },
);

/** Text of a few pieces, sometimes of several kilobytes. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 12, arbitrary: fc.array(piece, { minLength: 1, maxLength: 4 }).map((pieces) => pieces.join('')) },
  // An address followed by a command.
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom(...addresses), fc.constantFrom(...commands)).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.tuple(piece, fc.integer({ min: 1, max: 2_000 })).map(([text, times]) => text.repeat(times)) },
);

/** Several lines of such text, as on a console or from a program. */
export const hostileLines: fc.Arbitrary<string> = fc
  .array(fc.oneof(hostileText, fc.constantFrom('status: done', 'status: error', 'TINY-READY cwt boots=1', 'cwt-001 ! exit 0')), {
    maxLength: 6,
  })
  .map((lines) => lines.join('\n'));

/** A report like that of templates/guest/main.sh, with hostile values. */
export const hostileIdentity: fc.Arbitrary<string> = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        'hostname',
        'machine-id',
        'mac',
        'address',
        'card-address',
        'dhcp-client',
        'key',
        'former-key',
        'clock',
        'note',
        'hook',
      ),
      fc.oneof(
        { weight: 3, arbitrary: hostileText },
        {
          weight: 2,
          arbitrary: fc.constantFrom(
            'golden',
            '1700000000',
            '1e999',
            '99999999999999',
            '0'.repeat(32),
            'aa:bb:cc:dd:ee:ff',
            '10.9.9.9 lasting',
            '7',
          ),
        },
      ),
    ),
    { maxLength: 20 },
  )
  .map((lines) =>
    ['cowherd-self 1', 'hostname golden', 'clock 1700000000', ...lines.map((words) => words.join(' ')), 'cowherd-end', ''].join('\n'),
  );
