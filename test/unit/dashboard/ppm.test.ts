import { describe, expect, it } from 'vitest';
import { parsePpm } from '../../../src/dashboard/web/text/ppm.js';

function ppm(header: string, pixels: number[]): Uint8Array {
  return Uint8Array.from([...new TextEncoder().encode(header), ...pixels]);
}

describe('a screenshot as PPM', () => {
  it('becomes pixels', () => {
    const picture = parsePpm(ppm('P6\n2 1\n255\n', [1, 2, 3, 4, 5, 6]));
    expect([picture.width, picture.height]).toEqual([2, 1]);
    expect([...picture.rgba]).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
  });

  it('may have comments, and bytes that look like white space', () => {
    expect([...parsePpm(ppm('P6 # QEMU\n1 1 255\n', [10, 32, 35])).rgba]).toEqual([10, 32, 35, 255]);
  });

  it.each([
    ['nothing', '', []],
    ['another format', 'P3\n1 1\n255\n', [1, 2, 3]],
    ['other depths', 'P6\n1 1\n65535\n', [1, 2, 3, 4, 5, 6]],
    ['no pixels', 'P6\n0 1\n255\n', []],
    ['too many pixels', 'P6\n8192 8192\n255\n', [1, 2, 3]],
    ['a side that is too long', 'P6\n99999 1\n255\n', [1, 2, 3]],
    ['an incomplete picture', 'P6\n2 2\n255\n', [1, 2, 3]],
    ['a long comment', `P6\n#${'x'.repeat(5000)}\n1 1\n255\n`, [1, 2, 3]],
  ])('refuses %s', (_what, header, pixels) => {
    expect(() => parsePpm(ppm(header, pixels))).toThrow(/screenshot/);
  });
});
