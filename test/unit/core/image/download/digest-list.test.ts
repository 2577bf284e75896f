import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestFor, newestMatch, parseDigestList } from '../../../../../src/core/image/download/digest-list.js';
import { newestFirst, wildcardMatcher } from '../../../../../src/core/image/download/file-names.js';

const [a, b] = ['ab'.repeat(32), 'cd'.repeat(32)];
const long = 'ef'.repeat(64);
const sha256 = (text: string) => parseDigestList(text, { hash: 'sha256' });

describe('a list of digests', () => {
  it.each([
    ['sha256sum', `${a}  x.img\n${b}  y.img\n`],
    ['sha256sum --binary', `${a} *x.img\r\n${b} *y.img\r\n`],
    ['upper case', `${a.toUpperCase()}  x.img`],
    ['BSD', `SHA256 (x.img) = ${a}\nSHA256(y.img)= ${b}\n`],
    ['paths from here', `${a}  ./x.img\n`],
    ['comments', `# x.img: 4711 bytes\nSHA256 (x.img) = ${a}\n`],
    [
      'other digests',
      `${'12'.repeat(16)}  x.img\n${a}  x.img\n${long}  x.img\nMD5 (x.img) = ${'12'.repeat(16)}\nSHA512 (x.img) = ${long}\n`,
    ],
    ['a byte order mark', `\ufeff${a}  x.img`],
    [
      'a clear-signed text',
      `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${a}  x.img\n-----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n`,
    ],
  ])('as of %s', (_, text) => {
    expect(digestFor(sha256(text), 'x.img')).toBe(a);
    expect(digestFor(sha256(text), 'z.img')).toBeUndefined();
  });

  it('may have sha512 digests', () => {
    expect(digestFor(parseDigestList(`${long}  x.img\n${a}  x.img`, { hash: 'sha512' }), 'x.img')).toBe(long);
  });

  it('may be a single digest, which is that of any file', () => {
    expect(digestFor(sha256(`${a}\n`), 'x.img')).toBe(a);
    for (const text of [`${a}\n${b}\n`, `${a}\nand more\n`]) expect(() => sha256(text)).toThrow('contains no sha256 digest');
  });

  it('names files exactly', () => {
    const list = sha256(`${a}  old/x.img\n${b}  x.img.xz\n`);
    expect(digestFor(list, 'x.img')).toBeUndefined();
    expect(digestFor(sha256(`${a}  with space.img`), 'with space.img')).toBe(a);
  });

  it('ignores what is outside the signed text', () => {
    const text = `${b}  x.img\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${a}  y.img\n-----BEGIN PGP SIGNATURE-----\n${b}  x.img\n`;
    expect([...sha256(text).files.keys()]).toEqual(['y.img']);
  });

  it('is refused with two digests of the file, but may repeat one', () => {
    const list = sha256(`${a}  x.img\nSHA256 (./x.img) = ${b}\n${a}  y.img\n${a.toUpperCase()}  y.img\n`);
    expect(digestFor(list, 'y.img')).toBe(a);
    expect(() => digestFor(list, 'x.img')).toThrow(`two sha256 digests of x.img: ${a} and ${b}`);
    expect(() => newestMatch(list, 'x*')).toThrow('two sha256 digests');
  });

  it.each([
    ['a web page', '<html>'],
    ['an escaped name', `\\${a}  x\\ny.img`],
    ['an escaped BSD name', `\\SHA256 (x\\ny.img) = ${a}`],
    ['nothing', ''],
    ['too much', `${a}  x.img\n`.repeat(100_000)],
  ])('is refused if it is %s', (_, text) => {
    expect(() => sha256(text)).toThrow(expect.objectContaining({ code: 'BASE_REFUSED', hint: expect.any(String) }));
  });

  it('throws only refusals, whatever the text', () => {
    const piece = fc.constantFrom(a, b, '  ', ' *', '\n', 'x', '\\', 'SHA256 (', ') = ', '-----BEGIN PGP SIGNED MESSAGE-----', '# ');
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string())), (pieces) => {
        try {
          digestFor(sha256(pieces.join('')), 'x');
        } catch (error) {
          expect(error).toMatchObject({ code: 'BASE_REFUSED' });
        }
      }),
    );
  });
});

describe('the newest match', () => {
  const list = (...names: string[]) => sha256(names.map((name) => `${a}  ${name}\n`).join(''));
  it.each([
    [['x-1.9.img', 'x-1.10.img', 'x-1.10.img.xz'], 'x-*.img', 'x-1.10.img'],
    [['x-20260101.img', 'x-20251231.img'], 'x-*.img', 'x-20260101.img'],
    [['x-9-arm.img', 'x-8-amd.img'], 'x-*-amd.img', 'x-8-amd.img'],
    [['sub/x-9.img', 'x-8.img'], '*.img', 'x-8.img'],
    [['x-8.img'], 'x-8.img', 'x-8.img'],
  ])('of %j for %s is %s', (names, pattern, expected) => {
    expect(newestMatch(list(...names), pattern)).toEqual({ fileName: expected, digest: a });
  });

  it('may not exist', () => {
    expect(newestMatch(list('y.img'), 'x*')).toBeUndefined();
    expect(newestMatch(sha256(a), '*')).toBeUndefined();
  });
});

describe('file names', () => {
  it('match a pattern as with a regular expression', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*'), maxLength: 8 });
    fc.assert(
      fc.property(text, text, (pattern, name) => {
        const expression = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`);
        expect(wildcardMatcher(pattern)(name)).toBe(expression.test(name));
      }),
    );
  });

  it('match in bounded time', () => {
    expect(wildcardMatcher(`${'*a'.repeat(2000)}*b`)('a'.repeat(4000))).toBe(false);
  });

  it('have a total order', () => {
    const name = fc.string({ unit: fc.constantFrom('a', '0', '1', '9', '-'), maxLength: 6 });
    fc.assert(
      fc.property(name, name, name, (x, y, z) => {
        expect(newestFirst(x, y)).toBe(0 - newestFirst(y, x));
        expect(newestFirst(x, y) === 0).toBe(x === y);
        if (newestFirst(x, y) < 0 && newestFirst(y, z) < 0) expect(newestFirst(x, z)).toBeLessThan(0);
      }),
    );
  });
});
