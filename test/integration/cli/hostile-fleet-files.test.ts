import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { readNamedFile } from '../../../src/adapters/host/named-files.js';
import { CowherdError } from '../../../src/core/errors.js';
import { readFleetFile } from '../../../src/services/fleet/file.js';
import { runsOf } from '../../support/long.js';

/** Untrusted fleet files: for any content, the result is a fleet or a CowherdError with a reason, quickly. */

const runs = runsOf(Math.round(600 * Number(process.env.COWHERD_SOAK ?? 1)));
const directory = mkdtempSync(join(tmpdir(), 'cwt-hostile-'));
const file = join(directory, 'fleet.yaml');
afterAll(() => rmSync(directory, { recursive: true }));

const valid = [
  'name: lab\nbase: golden.qcow2\ncount: 3\nmemory: 512MiB\nvariables: {role: web, port: 80}\ndisks:\n  - {name: data, size: 1GiB}\n',
  'fleets:\n  - name: a\n    base: golden\n    count: 1\n  - &b\n    name: b\n    base: golden\n    count: 2\n    network: network=default\n',
  JSON.stringify({ fleets: [{ name: 'a', base: 'g', count: 1, secrets: { pw: 'x' }, sshKeys: [] }] }),
];
const fragments = [
  '&a ',
  '*a',
  '<<: *a\n',
  '!!js/function ',
  '!!binary ',
  '!!set ',
  '? ',
  '- ',
  '[',
  ']',
  '{',
  '}',
  ': ',
  '"',
  "'",
  '|\n',
  '>-\n',
  '%YAML 9.9\n',
  '---\n',
  '...\n',
  '\0',
  '\ufeff',
  '\t',
  '\r',
  '\u2028',
  '\ud800',
  '__proto__: {x: 1}\n',
  'constructor: x\n',
  'toString: 1\n',
  'count: 1e400\n',
  '.inf',
  '-.inf',
  '.nan',
  '0o17',
  '0x7fffffffffffffff',
  '99999999999999999999',
  '2020-01-01',
  '~',
  'null',
  '../../etc/shadow',
  '\u001b[31m',
  '# x\n',
]; // prettier-ignore

const mutated = fc
  .tuple(
    fc.constantFrom(...valid),
    fc.array(
      fc.record({
        at: fc.nat(400),
        cut: fc.nat(12),
        put: fc.oneof(fc.constantFrom(...fragments), fc.string({ unit: 'binary', maxLength: 8 })),
      }),
      { maxLength: 8 },
    ),
  )
  .map(([text, edits]) => Buffer.from(edits.reduce((now, { at, cut, put }) => now.slice(0, at) + put + now.slice(at + cut), text)));
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
/** JSON with valid keys and any values, and with invalid keys. */
const keyed = fc
  .dictionary(
    fc.oneof(fc.constantFrom('name', 'base', 'count', 'fleets', 'variables', 'disks', 'memory', 'network', 'sshKeys'), fc.string()),
    fc.jsonValue(),
  )
  .map((value) => Buffer.from(JSON.stringify(value)));

/** @returns the error, or undefined for a valid fleet file */
async function refusal(path: string): Promise<CowherdError | undefined> {
  const began = performance.now();
  try {
    await readFleetFile({ readFile: readNamedFile }, path);
    return undefined;
  } catch (error) {
    // Anything else is a bug, and would print a stack.
    if (!(error instanceof CowherdError)) throw error;
    expect(error.message).toContain(path);
    // A path, a position, or a problem of the whole document.
    if (error.code === 'BAD_SPEC' && error.details.length > 0)
      for (const detail of error.details) expect(detail).toMatch(/^(the document|[^:].*): ./s);
    expect(error.hint ?? '').not.toBe('');
    expect(error.exitCode).toBeOneOf([2, 5]);
    return error;
  } finally {
    expect(performance.now() - began).toBeLessThan(15_000);
  }
}

describe('an untrusted fleet file', () => {
  it(`is a fleet or an error with a reason, ${runs} times`, { timeout: 600_000 }, async () => {
    let accepted = 0;
    const before = process.memoryUsage().rss;
    await fc.assert(
      fc.asyncProperty(
        fc.oneof({ weight: 6, arbitrary: mutated }, { weight: 1, arbitrary: bytes }, { weight: 2, arbitrary: keyed }),
        async (content) => {
          writeFileSync(file, content);
          if ((await refusal(file)) === undefined) accepted++;
        },
      ),
      { numRuns: runs, seed: 20_240_607 },
    );
    // Mutations that break everything would test only the first check.
    expect(accepted).toBeGreaterThan(runs / 100);
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024);
  });

  const bombs: Record<string, [content: string, reason: RegExp]> = {
    'nested in flow, unclosed': ['['.repeat(100_000), /levels deep/],
    'nested in flow, closed': ['['.repeat(5000) + ']'.repeat(5000), /levels deep/],
    'nested in maps': ['{"a":'.repeat(100_000), /levels deep/],
    'nested in blocks': ['- '.repeat(100_000), /levels deep/],
    'nested by indentation': [Array.from({ length: 1000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'), /levels deep/],
    'nested in keys': ['? '.repeat(100_000), /levels deep/],
    'of many keys': [Array.from({ length: 100_000 }, (_, key) => `k${key}: 1`).join('\n'), /too many parts/],
    'of many keys, few parts': [`{${Array.from({ length: 5000 }, (_, key) => `k${key}: 1`).join()}}`, /too many keys/],
    'of many documents': ['---\n'.repeat(200_000), /too many parts/],
    'of two documents': [`${valid[0]}---\n${valid[0]}`, /more than one document/],
    'of many quotes': ['"'.repeat(1_000_000), /too many parts/],
    'of a huge word': [`name: ${'x'.repeat(1_000_000)}`, /not a fleet file/],
    'of aliases of aliases': [
      ['a: &a [1,1,1,1,1,1,1,1,1]', ...[...'bcdefghi'].map((key, n) => `${key}: &${key} [${Array(9).fill(`*${'abcdefghi'[n]}`)}]`)].join(
        '\n',
      ),
      /alias/,
    ],
    'of an alias of itself': ['&a {name: *a, base: b, count: 1}', /not a fleet file/],
    'with a key twice': ['name: a\nname: b\nbase: g\ncount: 1', /fleet\.yaml:2:1: .*unique/],
    'with a tag of code': ['name: !!js/function "x"\nbase: b\ncount: 1', /fleet\.yaml:1:\d+: .*tag/i],
    'with a variable __proto__': ['name: a\nbase: b\ncount: 1\nvariables: {__proto__: x}', /__proto__/],
    'with __proto__': ['__proto__: {name: a}\nname: a\nbase: b\ncount: 1', /__proto__/],
    'with a merge key': ['x: &x {name: a}\n<<: *x\nbase: b\ncount: 1', /not a fleet file/],
    'of an endless count': ['name: a\nbase: b\ncount: 1e400', /not a fleet file/],
    'of .inf': ['name: a\nbase: b\ncount: .inf', /not a fleet file/],
    'of a path with a NUL': ['name: a\nbase: "b\\0.qcow2"\ncount: 1', /not a fleet file/],
    empty: ['', /not a fleet file/],
  };
  it.each(Object.entries(bombs))('%s is refused', async (_name, [content, reason]) => {
    writeFileSync(file, content);
    expect((await refusal(file))?.message).toMatch(reason);
  });

  it('may begin with a byte order mark', async () => {
    writeFileSync(file, `\ufeff${valid[0]}`);
    expect(await refusal(file)).toBeUndefined();
  });
});

describe('a file that the user named', () => {
  it.each([
    ['/dev/zero', /device/],
    ['/dev/null', /device/],
    [directory, /directory/],
    [join(directory, 'gone'), /cannot be read/],
  ])('%s is no file', async (path, reason) => {
    expect((await refusal(path))?.message).toMatch(reason);
  });

  it('must be UTF-8', async () => {
    writeFileSync(file, Buffer.from('name: caf\xe9', 'latin1'));
    expect((await refusal(file))?.message).toMatch(/UTF-8/);
  });

  it('must not be too large, and is not read then', async () => {
    writeFileSync(file, '');
    truncateSync(file, 50 * 1024 ** 3);
    expect((await refusal(file))?.message).toMatch(/larger than the 1 MiB/);
  });

  it('may be a pipe, which does not block', async () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect((await refusal(pipe))?.message).toMatch(/not a fleet file/);
    const writer = spawn('sh', ['-c', 'exec 3<>"$0"; sleep 0.2; printf "%s" "$1" >&3; sleep 0.5', pipe, valid[0] ?? '']);
    const ended = new Promise((resolve) => writer.on('close', resolve));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await refusal(pipe)).toBeUndefined();
    await ended;
  });
});
