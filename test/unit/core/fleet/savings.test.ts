import { describe, expect, it } from 'vitest';
import { driftHistogram, reportFleet, totalSavings } from '../../../../src/core/fleet/savings.js';

const KiB = 1024;
const base = {
  path: '/b',
  digest: 'd',
  allocatedBytes: 1000 * KiB,
  virtualBytes: 10_000 * KiB,
};
const baseFiles = [{ path: '/b', allocatedBytes: 1000 * KiB }];
const usage = (fleet: string, ...sizes: number[]) => ({
  fleet,
  base,
  baseFiles,
  freshOverlayBytes: 12 * KiB,
  seedBytes: 0,
  sharedMemory: null,
  members: sizes.map((size, position) => ({
    name: `${fleet}-00${position + 1}`,
    allocatedBytes: size * KiB,
    checkpointBytes: 0,
    strayBytes: 0,
    copyBytes: 1000 * KiB,
    virtualBytes: 10_000 * KiB,
  })),
});

describe('savings', () => {
  it('subtract the base image', () => {
    const report = reportFleet(usage('lab', 12, 112));
    expect(report.overlays).toEqual({ allocatedBytes: 124 * KiB, driftBytes: 100 * KiB, checkpointBytes: 0, strayBytes: 0 });
    expect(report.fullCopies).toEqual({ allocatedBytes: 2000 * KiB, virtualBytes: 20_000 * KiB });
    expect(report.saved).toEqual({ bytes: (2000 - 1000 - 124) * KiB, percent: 43.8 });
    expect(report.perMember.map((member) => member.name)).toEqual(['lab-002', 'lab-001']);
  });

  it('count checkpoints neither as drift nor as free', () => {
    const { members, ...rest } = usage('lab', 112);
    const frozen = reportFleet({
      ...rest,
      members: members.map((member) => ({ ...member, checkpointBytes: 50 * KiB, strayBytes: 10 * KiB })),
    });
    expect(frozen.overlays).toEqual({ allocatedBytes: 112 * KiB, driftBytes: 40 * KiB, checkpointBytes: 50 * KiB, strayBytes: 10 * KiB });
    expect(frozen.saved).toEqual(reportFleet(usage('lab', 112)).saved);
  });

  it('are correct when nothing is saved', () => {
    expect(reportFleet(usage('lab', 12)).saved.bytes).toBe(-12 * KiB);
    expect(reportFleet(usage('lab', 5000)).saved).toEqual({ bytes: -5000 * KiB, percent: -500 });
    expect(reportFleet(usage('lab')).saved).toEqual({ bytes: -1000 * KiB, percent: 0 });
  });

  it('count a shared base image once', () => {
    const total = totalSavings([reportFleet(usage('web', 12, 12)), reportFleet(usage('db', 12))]);
    expect(total).toMatchObject({ members: 3, bases: 1, baseBytes: 1000 * KiB });
    expect(total.saved.bytes).toBe((3000 - 1000 - 36) * KiB);
  });

  it('count a shared layer once', () => {
    const files = [{ path: '/b2', allocatedBytes: 50 * KiB }, ...baseFiles];
    const layered = { ...usage('db', 12), base: { ...base, path: '/b2', allocatedBytes: 1050 * KiB }, baseFiles: files };
    const total = totalSavings([reportFleet(usage('web', 12)), reportFleet(layered)]);
    expect(total).toMatchObject({ bases: 2, baseBytes: 1050 * KiB });
  });
});

describe('the histogram of drift', () => {
  it('counts every member in one bin', () => {
    const bins = driftHistogram([0, 65_535, 65_536, 10_000_000]);
    expect(bins[0]).toEqual({ fromBytes: 0, toBytes: 65_536, count: 2 });
    expect(bins[1]).toMatchObject({ fromBytes: 65_536, toBytes: 131_072, count: 1 });
    expect(bins.reduce((sum, bin) => sum + bin.count, 0)).toBe(4);
    expect(bins.at(-1)?.count).toBe(1);
  });
});
