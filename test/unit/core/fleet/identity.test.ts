import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memberIdentity, memberMac, memberUuid } from '../../../../src/core/fleet/identity.js';
import { baseNameFromFile, memberName, namePattern } from '../../../../src/core/names.js';

const id = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';

describe('identity', () => {
  it('is stable', () => {
    expect(memberIdentity('lab', id, 7)).toEqual(memberIdentity('lab', id, 7));
    // Pinned: a change would give every member of every fleet another identity.
    expect(memberIdentity('lab', id, 7)).toEqual({
      index: 7,
      name: 'lab-007',
      uuid: memberUuid(id, 7),
      macs: [memberMac(id, 7)],
    });
    expect(memberUuid('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1)).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });

  it('never repeats within a fleet, however large', () => {
    fc.assert(
      fc.property(fc.uuid(), (fleetId) => {
        const members = Array.from({ length: 1000 }, (_, position) => memberIdentity('lab', fleetId, position + 1));
        expect(new Set(members.map((member) => member.macs[0])).size).toBe(1000);
        expect(new Set(members.map((member) => member.uuid)).size).toBe(1000);
        expect(members.every((member) => /^52:54:00(:[0-9a-f]{2}){3}$/.test(member.macs[0] ?? ''))).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  it('names sort like numbers up to 999, and grow beyond', () => {
    expect(memberName('lab', 1)).toBe('lab-001');
    expect(memberName('lab', 1000)).toBe('lab-1000');
  });

  it('derives a valid base name from any file name, or none', () => {
    expect(baseNameFromFile('Debian 12 (genericcloud).qcow2')).toBe('debian-12-genericcloud');
    expect(baseNameFromFile('....')).toBeUndefined();
    fc.assert(
      fc.property(fc.string(), (file) => {
        const name = baseNameFromFile(file);
        expect(name === undefined || namePattern.test(name)).toBe(true);
      }),
    );
  });
});
