import fc from 'fast-check';
import { hostileIdentity, hostileLines, hostileText } from './text.js';

/**
 * Replies of a hostile guest agent as text, because JSON.stringify cannot produce many of them. A reply has the structure of a valid
 * one with some values replaced, or no structure at all.
 */

/** A reply or a part of one, as JSON text. */
type Json = fc.Arbitrary<string>;

/** JSON in ASCII, so that half a surrogate pair survives. */
export function jsonText(text: string): string {
  return JSON.stringify(text).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

const text: Json = hostileText.map(jsonText);
const numbers = [
  '0',
  '-1',
  '1',
  '0.5',
  '-0',
  '255',
  '256',
  '65536',
  '2147483648',
  '9007199254740993',
  '18446744073709551616',
  '1e999',
  '-1e999',
  '1e-400',
];
const number: Json = fc.oneof(
  fc.constantFrom(...numbers),
  fc.integer({ min: 1, max: 400 }).map((length) => '9'.repeat(length)),
);
const odd: Json = fc.constantFrom(
  'null',
  'true',
  'false',
  '[]',
  '{}',
  '""',
  '[[]]',
  '{"":{}}',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"NaN"',
  '"x"',
  '"-1"',
  '"1e999"',
);

/** A value of a wrong type. */
const anything: Json = fc.oneof(
  { weight: 4, arbitrary: text },
  { weight: 2, arbitrary: number },
  { weight: 3, arbitrary: odd },
  { weight: 1, arbitrary: fc.array(text, { maxLength: 3 }).map((items) => `[${items.join(',')}]`) },
  { weight: 1, arbitrary: fc.tuple(text, text).map(([key, value]) => `{${key}:${value}}`) },
);

/** The right value, or another. */
function spoilt(right: Json): Json {
  return fc.oneof({ weight: 3, arbitrary: right }, { weight: 2, arbitrary: anything });
}

/** Some properties removed, and unknown ones added. */
function object(members: Record<string, Json>): Json {
  const known = Object.entries(members).map(([key, value]) => value.map((json) => `${JSON.stringify(key)}:${json}`));
  return fc
    .tuple(
      fc.tuple(...known),
      fc.array(
        fc.tuple(text, anything).map((pair) => pair.join(':')),
        { maxLength: 1 },
      ),
      fc.infiniteStream(fc.integer({ min: 0, max: 19 })),
    )
    .map(([pairs, strangers, dice]) => `{${[...strangers, ...pairs.filter(() => dice.next().value !== 0)].join(',')}}`);
}

function list(item: Json, maxLength: number): Json {
  return fc.array(item, { minLength: 1, maxLength }).map((items) => `[${items.join(',')}]`);
}

const base64 = (output: fc.Arbitrary<string>): Json => output.map((clear) => JSON.stringify(Buffer.from(clear).toString('base64')));
const oddBase64: Json = fc.constantFrom('"===="', '"%%%"', '"YQ"', '"Y Q = ="', '"\\u0000"', '"-_-_"', '"AAAA\\nAAAA"');

const exitCode: Json = fc.constantFrom('0', '1', '"x"', '-1', '9007199254740992', '256', '1e999', '0.5', 'null', '[]', '"0"');

/** The value of `return`, by command. @MAC@ is replaced with the MAC of the member's card. */
export const returns: Record<string, Json> = {
  'guest-ping': fc.oneof(fc.constant('{}'), anything),
  'guest-network-get-interfaces': spoilt(
    list(
      spoilt(
        object({
          name: text,
          'hardware-address': spoilt(fc.constant('"@MAC@"')),
          'ip-addresses': spoilt(
            list(
              object({
                'ip-address': text,
                'ip-address-type': fc.oneof(fc.constant('"ipv4"'), fc.constant('"ipv4"'), anything),
                prefix: number,
              }),
              4,
            ),
          ),
        }),
      ),
      4,
    ),
  ),
  'guest-exec': spoilt(object({ pid: spoilt(number) })),
  'guest-exec-status': spoilt(
    object({
      exited: fc.oneof({ weight: 6, arbitrary: fc.constant('true') }, { weight: 1, arbitrary: anything }),
      exitcode: exitCode,
      signal: fc.oneof({ weight: 3, arbitrary: fc.constant('0') }, { weight: 1, arbitrary: anything }),
      'out-data': spoilt(fc.oneof(base64(hostileLines), base64(hostileIdentity), base64(fc.string({ unit: 'binary' })), oddBase64)),
      'err-data': spoilt(fc.oneof(base64(hostileLines), oddBase64)),
      'out-truncated': spoilt(fc.constantFrom('true', 'false')),
    }),
  ),
  'guest-file-open': spoilt(number),
  'guest-file-read': spoilt(
    object({
      count: number,
      'buf-b64': spoilt(fc.oneof(base64(hostileLines), oddBase64)),
      eof: fc.oneof({ weight: 4, arbitrary: fc.constant('true') }, { weight: 1, arbitrary: anything }),
    }),
  ),
  'guest-file-write': spoilt(object({ count: spoilt(number), eof: odd })),
  'guest-file-flush': anything,
  'guest-file-close': anything,
  'guest-shutdown': anything,
};

/** libvirt messages that a guest may quote. If they were taken for messages of libvirt, one guest could affect the whole host. */
export const libvirtWords = [
  'Disconnected from qemu:///system due to end of file',
  'End of file while reading data: Input/output error',
  'failed to connect to the hypervisor',
  'cannot acquire state change lock',
  'domain is not running',
  'domain is already running',
  'Domain not found: no domain with matching name',
  'Guest agent is not responding: timed out',
  'authentication failed: no polkit agent',
  'No space left on device',
  'The command guest-exec has been disabled for this instance',
  'Failed to execute child process',
  'No complete agent response',
  'x\nerror: End of file while reading data',
  'x\nvirsh # echo --err cow-1-end-1.\nerror: cow-1-end-1.',
];

const refusal: Json = object({
  class: fc.oneof(fc.constant('"GenericError"'), text),
  desc: fc.oneof({ weight: 2, arbitrary: text }, { weight: 1, arbitrary: fc.constantFrom(...libvirtWords).map(jsonText) }),
});

/** One line that libvirt accepts as a reply. */
export function replyTo(command: string): Json {
  return fc.oneof(
    { weight: 9, arbitrary: (returns[command] ?? anything).map((value) => `{"return":${value}}`) },
    { weight: 2, arbitrary: refusal.map((error) => `{"error":${error}}`) },
  );
}

const event = '{"event":"x","timestamp":{"seconds":1,"microseconds":2},"data":{}}';

/** Invalid or multiple replies. libvirt disconnects an agent after most of them. */
export const brokenReplies: Record<string, string> = {
  'not-json': 'garbage\n',
  half: '{"return":{"pid":',
  empty: '\n',
  'two-replies': '{"return":{}}\n{"return":[{"name":"second"}]}\n',
  'event-first': `${event}\n{"return":{}}\n`,
  greeting: '{"QMP":{"version":{}}}\n{"return":{}}\n',
  neither: '{"id":1}\n',
  'quotes-libvirt': 'End of file while reading data\n',
  both: '{"return":{},"error":{"class":"GenericError","desc":"both"}}\n',
  array: '[]\n',
  twice: '{"return":{},"return":[]}\n',
  zero: '{"return":"\0"}\n',
  bytes: '{"return":"\xff\xfe"}\n',
  infinity: '{"return":NaN}\n',
  escape: '\u001b]0;x\u0007{"return":{}}\n',
};

/** Shell scripts that write a reply too large to keep as a file. $id is that of the last synchronization. */
export const largeReplies: Record<string, string> = {
  'ten-megabytes': `printf '{"return":[{"name":"'; head -c 10000000 /dev/zero | tr '\\0' A; printf '"}]}\\n'`,
  'three-megabytes': `printf '{"return":[{"name":"'; head -c 3000000 /dev/zero | tr '\\0' A; printf '"}]}\\n'`,
  'many-interfaces': `printf '{"return":[{}'; yes ',{"name":"x"}' | head -n 100000 | tr -d '\\n'; printf ']}\\n'`,
  // As many interfaces with an address as fit.
  'many-addresses': `printf '{"return":[{"name":"x","hardware-address":"@MAC@","ip-addresses":[{}'; yes ',{"ip-address-type":"ipv4","ip-address":"10.9.9.9"}' | head -n 50000 | tr -d '\\n'; printf ']}]}\\n'`,
  // A deeper level would be rejected by libvirt.
  'deep-nesting': `printf '{"return":'; yes '[' | head -n 10000 | tr -d '\\n'; yes ']' | head -n 10000 | tr -d '\\n'; printf '}\\n'`,
  'large-output': `printf '{"return":{"exited":true,"exitcode":0,"out-data":"'; head -c 3000000 /dev/zero | tr '\\0' A; printf '"}}\\n'`,
};

/** By the kind of synchronization fault. */
export const brokenSyncs: Record<string, string> = {
  'wrong-id': `printf '{"return":12345}\\n'`,
  twice: `printf '{"return":%s}\\n{"return":%s}\\n' "$id" "$id"`,
  late: `printf '{"return":%s}\\n{"return":{}}\\n' "$((id - 1))"`,
  text: `printf '{"return":"%s"}\\n' "$id"`,
  half: `printf '{"return":%s' "$id"`,
  none: ':',
};
