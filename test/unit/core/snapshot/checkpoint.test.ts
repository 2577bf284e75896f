import { describe, expect, it } from 'vitest';
import {
  assertHeld,
  type CheckpointFacts,
  type CheckpointRecord,
  judgeCheckpoint,
  machineIn,
  parseCheckpoint,
  tagOf,
} from '../../../../src/core/snapshot/checkpoint.js';

const digest = 'a'.repeat(64);
const base = { name: 'golden', digest: 'b'.repeat(64) };
const versions = { qemu: '7.2.0 (Debian)', hypervisor: 'QEMU 7.2.0', libvirt: '9.0.0' };
const record: CheckpointRecord = {
  version: 1,
  fleetId: '65ab6ff6-cf2b-4c16-89dd-8c4a69f57020',
  index: 2,
  tag: 'cowherd-0a7b2b593e35',
  takenAt: '2026-11-23T10:00:00.000Z',
  base,
  definition: '0123456789abcdef',
  machine: 'pc-i440fx-7.2',
  versions,
  agent: true,
  stateBytes: 1,
  allocatedBytes: 1,
  digests: { 'lab-002': digest, 'lab-002.data': digest },
};
const sight: CheckpointFacts = {
  fleetId: record.fleetId,
  index: 2,
  base,
  holds: new Map([
    ['lab-002', true],
    ['lab-002.data', true],
  ]),
  definition: record.definition,
  machine: record.machine,
  qemu: versions.qemu,
  hypervisor: versions.hypervisor,
  libvirt: versions.libvirt,
};

describe('a checkpoint', () => {
  it.each<[string, Partial<CheckpointFacts>, string, RegExp | undefined]>([
    ['that is as it was', {}, 'good', undefined],
    ['of another member', { index: 3 }, 'broken', /another member/],
    ['of another fleet', { fleetId: 'other' }, 'broken', /another member/],
    ['whose disk was replaced', { holds: new Map([...sight.holds, ['lab-002', false]]) }, 'broken', /does not hold/],
    ['one of whose disks is gone', { holds: new Map([['lab-002', true]]) }, 'broken', /no longer has, lab-002\.data/],
    ['on another base image', { base: { ...base, digest: 'c'.repeat(64) } }, 'broken', /it is based on/],
    ['of a member with another disk now', { holds: new Map([...sight.holds, ['lab-002.logs', false]]) }, 'outdated', /disk was replaced/],
    ['of a domain that was redefined', { definition: 'fedcba9876543210' }, 'outdated', /was redefined/],
    ['of an older machine', { machine: 'pc-i440fx-8.0' }, 'outdated', /pc-i440fx-7\.2.*pc-i440fx-8\.0/],
    ['of another QEMU than runs', { qemu: '8.0.0' }, 'outdated', /QEMU 7\.2\.0 \(Debian\).*8\.0\.0/],
    // The running process can load it, whatever was installed meanwhile.
    ['of a process that runs on beside a new QEMU', { hypervisor: 'QEMU 8.0.0', libvirt: '10.0.0' }, 'good', undefined],
    ['of another QEMU than would be started', { qemu: undefined, hypervisor: 'QEMU 8.0.0' }, 'outdated', /QEMU 8\.0\.0/],
    ['of another libvirt than would start it', { qemu: undefined, libvirt: '10.0.0' }, 'outdated', /libvirt 9\.0\.0.*10\.0\.0/],
  ])('%s is judged', (_what, differs, kind, why) => {
    const standing = judgeCheckpoint(record, { ...sight, ...differs });
    expect(standing.kind).toBe(kind);
    if (why !== undefined) expect(standing).toHaveProperty('why', expect.stringMatching(why));
  });

  it('is not loaded if it has changed', () => {
    assertHeld(record, 'lab', 'lab-002', digest);
    for (const [seen, words] of [
      ['c'.repeat(64), 'has changed since it was taken'],
      [undefined, 'does not hold all'],
    ] as const) {
      const refused = expect.objectContaining({
        code: 'IMAGE_CHANGED',
        message: expect.stringContaining(words),
        hint: expect.stringContaining('cowherd reset lab 2'),
      });
      expect(() => assertHeld(record, 'lab', 'lab-002', seen)).toThrow(refused);
    }
  });

  it('is named after the run that takes it', () => {
    expect(tagOf('0a7b2b59-3e35-4f15-95c2-d604c46fa066')).toBe(record.tag);
  });

  it('with a damaged record is reported as damaged', () => {
    expect(parseCheckpoint('lab', 'lab-002', JSON.stringify(record))).toEqual(record);
    for (const text of ['', '{', '{}', JSON.stringify({ ...record, tag: "x' --no" }), JSON.stringify({ ...record, digests: { a: 'b' } })]) {
      expect(() => parseCheckpoint('lab', 'lab-002', text)).toThrow(
        expect.objectContaining({ code: 'STATE_DAMAGED', hint: 'Take it again: cowherd checkpoint lab 2' }),
      );
    }
  });

  it('reads the machine type from libvirt’s XML', () => {
    const xml = `<domain><metadata><cowherd:member xmlns:cowherd="urn:cowherd:domain:1" definition="455380d0f5eb6bd0"/></metadata><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os></domain>`;
    expect(machineIn('lab-002', xml)).toEqual({ machine: 'pc-q35-7.2', definition: '455380d0f5eb6bd0' });
    expect(() => machineIn('lab-002', '<domain/>')).toThrow(expect.objectContaining({ code: 'DOMAIN_CHANGED' }));
  });
});
