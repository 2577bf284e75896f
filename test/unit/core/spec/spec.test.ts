import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CowherdError, exitCodeOf } from '../../../../src/core/errors.js';
import { parseOperationLog } from '../../../../src/core/fleet/operation.js';
import { parseMemoryMiB } from '../../../../src/core/spec/field-schemas.js';
import { fleetFileJsonSchema } from '../../../../src/core/spec/file-schema.js';
import { parseFlagValues } from '../../../../src/core/spec/flag-values.js';
import { parseFleetFile } from '../../../../src/core/spec/fleet-file.js';

const details = (document: unknown): string => {
  try {
    parseFleetFile(document, 'lab.yaml');
    return '';
  } catch (error) {
    return (error as CowherdError).details.join('\n');
  }
};
const fleet = { name: 'lab', base: 'golden.qcow2', count: 3 };

describe('a fleet file', () => {
  it('is one fleet or a lab of several', () => {
    expect(parseFleetFile({ ...fleet, memory: '2GiB' }, 'f')).toEqual([{ ...fleet, memory: 2048 }]);
    expect(parseFleetFile({ fleets: [fleet, { ...fleet, name: 'web' }] }, 'f')).toHaveLength(2);
  });

  it.each([
    [{ ...fleet, count: 0 }, /^count: /],
    [{ ...fleet, name: '../x' }, /^name: is not a name/],
    [{ ...fleet, memory: 'lots' }, /^memory: is not a memory size/],
    [{ ...fleet, network: 'user;rm' }, /^network: is not a network/],
    [{ ...fleet, variables: { a: 'x\u0007' } }, /^variables\.a: has a control character/],
    [{ ...fleet, variables: { 'a b': 1 } }, /^variables\.a b: /],
    [{ ...fleet, sise: 1 }, /sise/],
    [{ fleets: [fleet, { ...fleet }] }, /^fleets\[1\]\.name: lab is already the name of fleets\[0\]/],
    [
      {
        fleets: [
          { ...fleet, connect: 'a' },
          { ...fleet, name: 'web', connect: 'b' },
        ],
      },
      /^fleets\[1\]\.connect: b is not the connection of fleets\[0\]/,
    ],
    [
      {
        fleets: [
          { ...fleet, connect: 'a' },
          { ...fleet, name: 'web' },
        ],
      },
      /^fleets\[1\]\.connect: the default connection is not the connection of fleets\[0\]/,
    ],
    [{ fleets: [] }, /^fleets: /],
    [null, /the document/],
    ['text', /the document/],
    [[], /the document/],
  ])('reports the position of the problem in %j', (document, message) => {
    expect(details(document)).toMatch(message);
  });

  it('may say how its base image is prepared', () => {
    const image = { from: 'golden', run: 'true', generalize: true, memory: '1GiB', wait: 'ssh', timeout: '1h' };
    const prepared = { name: 'lab', count: 3, image };
    expect(parseFleetFile(prepared, 'f')[0]?.image).toEqual({ ...image, run: ['true'], memory: 1024 });
    expect(details({ ...prepared, base: 'golden' })).toContain('has both base and image');
    expect(details({ ...prepared, image: { ...image, script: 'setup.sh' } })).toBe('image: has both run and script');
    expect(details({ ...prepared, image: { run: 'true' } })).toBe('image.from: is missing');
    expect(details({ ...prepared, image: { ...image, run: [' '] } })).toMatch(/^image\.run/);
    expect(details({ ...prepared, image: { ...image, wait: 'tea' } })).toMatch(/^image\.wait: .*stage/);
    expect(details({ ...prepared, image: { ...image, timeout: 'long' } })).toMatch(/^image\.timeout: .*not a duration/);
    expect(details({ ...prepared, image: { ...image, as: 'x'.repeat(33) } })).toMatch(/^image\.as: /);
    expect(details({ ...prepared, image: { ...image, generalise: true } })).toContain('did you mean "generalize"?');
  });

  it('matches the published schema for editors', () => {
    const published = JSON.parse(readFileSync(new URL('../../../../schemas/fleet.schema.json', import.meta.url), 'utf8'));
    expect(published, 'run: npm run schema').toEqual(JSON.parse(JSON.stringify(fleetFileJsonSchema())));
  });
});

describe('values', () => {
  it('reads amounts of memory', () => {
    expect(['512', '512MiB', '2GiB', '2g', '1 GB'].map(parseMemoryMiB)).toEqual([512, 512, 2048, 2048, 1024]);
    expect(['', 'x', '1PiB', '-1', '1.5GiB'].map(parseMemoryMiB)).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(() => parseFlagValues({ memory: '2' })).toThrow(CowherdError);
    // Errors name the flag, not the key of the fleet file.
    const bad = { memory: '2', rootSize: 'x', sshUser: '', disks: [{ size: '1MiB' }, { size: 'much', name: '/' }] };
    expect(() => parseFlagValues(bad, 'doctor')).toThrow(
      expect.objectContaining({
        details: expect.arrayContaining(
          ['--memory', '--disk-size', '--ssh-user', '--disk', '--disk name'].map((flag) => expect.stringMatching(`^${flag}: `)),
        ),
        hint: 'See "cowherd doctor --help".',
      }),
    );
  });

  it('counts only whole lines of an operation log', () => {
    expect(parseOperationLog('done 1\ndone 12\ndone 3')).toEqual(new Set([1, 12]));
    expect(parseOperationLog('garbage\ndone x\n')).toEqual(new Set());
  });

  it('has an exit code for every error', () => {
    expect(new Set(Object.values(exitCodeOf))).toEqual(new Set([2, 3, 4, 5, 6, 7, 8, 130]));
  });
});
