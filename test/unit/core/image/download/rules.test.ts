import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeArmor, isArmored } from '../../../../../src/core/image/download/armor.js';
import { hasChanged, ifRange, parseContentRange } from '../../../../../src/core/image/download/ranges.js';
import { judgeReply, type Kept } from '../../../../../src/core/image/download/reply.js';
import { Attempts, isTransientStatus, parseRetryAfter, retryRules } from '../../../../../src/core/image/download/retry.js';
import { parseSignatureStatus } from '../../../../../src/core/image/download/signature-status.js';
import { fileNameOf, parseAddress, redirectTarget, shownUrl } from '../../../../../src/core/image/download/url.js';

describe('the pauses between attempts', () => {
  it('double, vary by a quarter, and end after five attempts', () => {
    const pauses = (random: number) => {
      const attempts = new Attempts(retryRules, () => random);
      return [1, 2, 3, 4, 5].map(() => attempts.next(0));
    };
    expect(pauses(0.5)).toEqual([1000, 2000, 4000, 8000, undefined]);
    expect(pauses(0)).toEqual([750, 1500, 3000, 6000, undefined]);
    expect(pauses(1)).toEqual([1250, 2500, 5000, 10_000, undefined]);
  });

  it('begin again after progress, but there are at most 100 attempts', () => {
    const attempts = new Attempts(retryRules, () => 0.5);
    expect([0, 0, 0, 2 ** 20, 0, 2 ** 20 - 1].map((bytes) => attempts.next(bytes))).toEqual([1000, 2000, 4000, 1000, 1000, 2000]);
    let count = 6;
    while (attempts.next(2 ** 20) !== undefined) count += 1;
    expect(count + 1).toBe(100);
  });

  it('are those that the server asks for, up to a minute', () => {
    const pause = (ms: number) => new Attempts(retryRules, () => 0.5).next(0, ms);
    expect([500, 30_000, 3_600_000].map(pause)).toEqual([1000, 30_000, 60_000]);
    const now = Date.parse('2026-01-01T00:00:00Z');
    expect(
      ['120', 'Thu, 01 Jan 2026 00:00:05 GMT', 'Wed, 31 Dec 2025 00:00:00 GMT', 'soon', undefined].map((value) =>
        parseRetryAfter(value, now),
      ),
    ).toEqual([120_000, 5000, 0, 0, 0]);
  });

  it('follow only failures that may pass', () => {
    expect([400, 401, 403, 404, 408, 410, 416, 429, 500, 503].filter(isTransientStatus)).toEqual([408, 429, 500, 503]);
  });
});

describe('a reply', () => {
  const judge = (status: number, headers: Record<string, string>, kept: Kept) =>
    judgeReply({ status, header: (name) => headers[name] }, kept);
  const kept = { bytes: 10, record: { etag: '"a"', bytes: 100 } };
  const none = { bytes: 0 };
  it.each<[number, Record<string, string>, Kept, unknown]>([
    [200, { 'content-length': '100' }, none, { kind: 'begin', total: 100 }],
    [200, { 'content-length': 'x' }, kept, { kind: 'begin', total: undefined }],
    [206, { 'content-range': 'bytes 10-99/100', etag: '"a"' }, kept, { kind: 'continue', total: 100 }],
    [206, { 'content-range': 'bytes 10-99/*' }, kept, { kind: 'continue', total: 100 }],
    [206, { 'content-range': 'bytes 10-99/100', etag: '"b"' }, kept, { kind: 'again' }],
    [206, { 'content-range': 'bytes 11-99/100' }, kept, { kind: 'again' }],
    [206, { 'content-range': 'bytes 10-98/99' }, kept, { kind: 'again' }],
    [206, {}, kept, { kind: 'again' }],
    [206, { 'content-range': 'bytes 0-99/100' }, none, { kind: 'unexpected' }],
    [204, {}, none, { kind: 'unexpected' }],
    [416, { 'content-range': 'bytes */10' }, kept, { kind: 'complete' }],
    [416, {}, { bytes: 10, record: { bytes: 10 } }, { kind: 'complete' }],
    [416, { 'content-range': 'bytes */100' }, kept, { kind: 'again' }],
    [416, { 'content-range': 'bytes */10', etag: '"b"' }, kept, { kind: 'again' }],
    [416, {}, none, { kind: 'failed' }],
    [404, {}, kept, { kind: 'failed' }],
  ])('%i %j for %j', (status, headers, there, expected) => {
    expect(judge(status, headers, there)).toMatchObject(expected as object);
  });

  it('can be continued with a strong tag or a date', () => {
    expect(ifRange({ etag: '"a"', lastModified: 'x' })).toBe('"a"');
    expect(ifRange({ etag: 'W/"a"', lastModified: 'x' })).toBe('x');
    expect(ifRange({ etag: 'W/"a"' })).toBeUndefined();
    expect(hasChanged({ etag: '"a"', lastModified: 'x' }, { etag: '"a"', lastModified: 'y' })).toBe(false);
    expect(hasChanged({ lastModified: 'x' }, { etag: '"a"', lastModified: 'y' })).toBe(true);
    expect(hasChanged({ lastModified: 'x' }, {})).toBe(false);
  });

  it.each(['bytes 9-8/10', 'bytes 0-10/10', 'items 0-1/2', 'bytes */*', '', undefined])('has no valid range with %j', (value) => {
    expect(parseContentRange(value)).toBeUndefined();
  });
});

describe('an address', () => {
  it('is shown without a password, whatever it is', () => {
    expect(parseAddress('https://me:p%40ss@example.org/a#b')).toMatchObject({ credentials: 'me:p@ss' });
    expect(parseAddress('https://example.org/a').credentials).toBeUndefined();
    expect(shownUrl('https://me:pass@example.org/a')).toBe('https://example.org/a');
    for (const text of ['https://me:pass@', 'ftp://me:pass@x/', 'http://me:pass@[']) {
      expect(() => parseAddress(text)).toThrow(
        expect.objectContaining({ code: 'BAD_USAGE', message: expect.not.stringContaining('pass') }),
      );
    }
    fc.assert(
      fc.property(fc.webUrl({ validSchemes: ['http', 'https'] }), (url) => {
        expect(shownUrl(url.replace('://', '://me:s3cretWord@'))).not.toContain('s3cretWord');
      }),
    );
  });

  it('of a redirect may be relative, and never less secure', () => {
    const from = new URL('https://example.org/a/b');
    expect(String(redirectTarget(from, 'c'))).toBe('https://example.org/a/c');
    expect(String(redirectTarget(from, 'https://me:pass@other.org/'))).toBe('https://other.org/');
    for (const to of ['http://example.org/', 'file:///x', 'https://[']) expect(redirectTarget(from, to)).toMatch(/^the server redirects/);
  });

  it('has a file name', () => {
    expect(['https://x/a/b%20c.img?d', 'https://x/', 'https://x/%zz'].map(fileNameOf)).toEqual(['b c.img', '', '%zz']);
  });
});

describe('armor', () => {
  const armored = (data: Buffer, end = '') =>
    `-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\n${data.toString('base64')}\n${end}-----END PGP PUBLIC KEY BLOCK-----\n`;
  it('is decoded, several blocks one after the other', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), (bytes) => {
        const data = Buffer.from(bytes);
        expect(decodeArmor(`text\n${armored(data)}${armored(data)}`)?.equals(Buffer.concat([data, data]))).toBe(true);
      }),
    );
    expect(isArmored(Buffer.from(armored(Buffer.from('x'))))).toBe(true);
  });

  it('is refused if it is damaged', () => {
    const data = Buffer.from('123456789');
    // CRC-24/OPENPGP of 123456789 is 0x21cf02.
    expect(decodeArmor(armored(data, '=Ic8C\n'))?.equals(data)).toBe(true);
    for (const text of [armored(data, '=Ic8D\n'), armored(Buffer.alloc(0)), 'nothing', armored(data).replace('MTIz', 'M!Iz')]) {
      expect(decodeArmor(text)).toBeUndefined();
    }
  });
});

describe('the status of gpgv', () => {
  const key = 'A'.repeat(40);
  const valid = `[GNUPG:] GOODSIG BBBBBBBBBBBBBBBB x\n[GNUPG:] VALIDSIG ${'B'.repeat(40)} 2026-01-01 1 0 4 0 1 8 00 ${key}\n`;
  it.each<[string, number, unknown]>([
    [valid, 0, { verdict: 'good', key }],
    [valid, 2, { verdict: 'unknown' }],
    [valid.replace('GOODSIG', 'NOTHING'), 0, { verdict: 'unknown' }],
    [valid.replace('GOODSIG', 'EXPKEYSIG'), 0, { verdict: 'unknown', why: 'key BBBBBBBBBBBBBBBB has expired' }],
    [valid.replace('GOODSIG', 'REVKEYSIG'), 0, { verdict: 'bad', why: 'key BBBBBBBBBBBBBBBB is revoked' }],
    [`${valid}[GNUPG:] BADSIG CCCCCCCCCCCCCCCC x\n`, 0, { verdict: 'bad' }],
    [`${valid}[GNUPG:] ERRSIG CCCCCCCCCCCCCCCC 1 8 00 1 9\n`, 2, { verdict: 'good', key }],
    [`${valid}[GNUPG:] ERRSIG CCCCCCCCCCCCCCCC 1 8 00 1 4\n`, 2, { verdict: 'unknown' }],
    [`${valid}[GNUPG:] ERRSIG CCCCCCCCCCCCCCCC 1 8 00 1 9\n`, 0, { verdict: 'unknown' }],
    ['[GNUPG:] NO_PUBKEY CCCCCCCCCCCCCCCC\n', 2, { why: 'key CCCCCCCCCCCCCCCC is not on this host' }],
    [` x ${valid.replaceAll('[GNUPG:]', 'gpgv:')}`, 0, { verdict: 'unknown' }],
    ['', 0, { verdict: 'unknown' }],
  ])('%j with exit code %i', (status, exitCode, expected) => {
    expect(parseSignatureStatus(status, exitCode)).toMatchObject(expected as object);
  });
});
