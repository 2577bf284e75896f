import { describe, expect, it } from 'vitest';
import { specOf } from '../../../../src/cli/flags/spec.js';
import type { CowherdError } from '../../../../src/core/errors.js';
import {
  completeFormat,
  defaultOverlayFormat,
  formatOverlay,
  formerOverlayFormat,
  maxDiskBytes,
  parseClusterSize,
} from '../../../../src/core/image/overlay-format.js';
import { definitionChanges, formatNotes } from '../../../../src/core/spec/changes.js';
import { parseFleetFile } from '../../../../src/core/spec/fleet-file.js';
import { type DomainSpec, defaultDomainSpec, domainSpecSchema } from '../../../../src/core/spec/spec.js';
import { checkOverlays } from '../../../../src/services/preflight/overlay-check.js';

const KiB = 1024;
const extended = { clusterBytes: 128 * KiB, extendedL2: true };

const inFile = (overlay: unknown) => parseFleetFile({ name: 'lab', base: 'golden', count: 1, overlay }, 'lab.yaml')[0]?.overlay;
const thrown = (work: () => unknown): Partial<CowherdError> => {
  try {
    work();
    return {};
  } catch (error) {
    return error as CowherdError;
  }
};

describe('the format of overlays', () => {
  it('is given in a fleet file or by a flag, which takes precedence', () => {
    expect(inFile({ clusterSize: '128KiB', extendedL2: true })).toEqual(extended);
    expect(inFile({ clusterSize: 65536, extendedL2: false })).toEqual(formerOverlayFormat);
    expect(specOf({ overlay: 'cluster-size=128k,extended-l2=on' }, { overlay: formerOverlayFormat }).overlay).toEqual(extended);
    expect(specOf({ overlay: 'extended-l2=off,cluster-size=1M' }).overlay).toEqual({ clusterBytes: 1024 * KiB, extendedL2: false });
    expect([specOf({}, { overlay: extended }).overlay, specOf({}).overlay]).toEqual([extended, undefined]);
  });

  it('is completed, so that the part that is left out suits the other one', () => {
    expect(completeFormat({})).toEqual(defaultOverlayFormat);
    expect(completeFormat({ extendedL2: true })).toEqual({ clusterBytes: 64 * KiB, extendedL2: true });
    expect(completeFormat({ extendedL2: false })).toEqual(formerOverlayFormat);
    expect(completeFormat({ clusterBytes: 256 * KiB })).toEqual({ ...defaultOverlayFormat, clusterBytes: 256 * KiB });
  });

  it('has clusters of a power of two', () => {
    expect(['512', '64k', '64KiB', '128 kb', '2MiB', '131072'].map(parseClusterSize)).toEqual(
      [0.5, 64, 64, 128, 2048, 128].map((size) => size * KiB),
    );
    for (const text of ['', '0', '256', '4MiB', '96KiB', '64GiB', '-64KiB', '1.5MiB', 'k', '1e5'])
      expect(parseClusterSize(text)).toBe(undefined);
  });

  it.each([
    [
      { clusterSize: '96KiB' },
      'overlay.clusterSize: is not a cluster size: write a power of two from 512 to 2MiB, such as 64KiB or 128KiB',
    ],
    [
      { clusterSize: '8KiB', extendedL2: true },
      'overlay.clusterSize: clusters of 8 KiB are too small for extended L2 entries: use at least 16 KiB, or turn extended L2 off',
    ],
    [{ clusterSise: '64KiB' }, 'overlay: unknown key "clusterSise"; did you mean "clusterSize"?'],
    [{ extendedL2: 'on' }, 'overlay.extendedL2: expected boolean, received string'],
  ])('is refused in a fleet file: %j', (overlay, detail) => {
    expect(thrown(() => inFile(overlay))).toMatchObject({ code: 'BAD_SPEC', details: [detail] });
  });

  it.each([
    'on',
    'cluster-size',
    'cluster-size=',
    'extended-l2=yes',
    'cluster-size=64KiB,',
    'size=64KiB',
    'cluster-size=on',
    'extended-l2=64KiB',
  ])('is refused as a flag: %s', (overlay) => {
    expect(thrown(() => specOf({ overlay }))).toMatchObject({
      message: `Invalid --overlay ${overlay}`,
      hint: expect.stringContaining('--overlay cluster-size=128KiB'),
    });
  });

  it('names the part of a flag that is wrong', () => {
    expect(thrown(() => specOf({ overlay: 'cluster-size=3' }))).toMatchObject({
      details: [expect.stringMatching(/^--overlay cluster-size: is not a cluster size/)],
    });
    expect(thrown(() => specOf({ overlay: 'cluster-size=4k,extended-l2=on' }))).toMatchObject({
      details: [expect.stringMatching(/^--overlay cluster-size: clusters of 4 KiB are too small/)],
    });
    for (const overlay of [
      { clusterBytes: 3, extendedL2: false },
      { clusterBytes: 4 * KiB, extendedL2: true },
    ])
      expect(domainSpecSchema.safeParse({ ...defaultDomainSpec, overlay }).error?.issues[0]?.path).toEqual(['overlay', 'clusterBytes']);
  });
});

describe('a fleet', () => {
  const { overlay: _, ...former } = defaultDomainSpec;

  it('records the format, which is absent in older ones and stays so', () => {
    expect(defaultDomainSpec.overlay).toEqual(defaultOverlayFormat);
    const read = domainSpecSchema.parse(former);
    expect(JSON.stringify(read)).toBe(JSON.stringify(former));
    // A definition contains the spec as text: appended here, it is at the same place once it was read from a record.
    const given: DomainSpec = { ...read, overlay: extended };
    expect(JSON.stringify(domainSpecSchema.parse(given))).toBe(JSON.stringify(given));
  });

  it('tells what changes, and that existing disks stay', () => {
    const mark = { spec: JSON.stringify(former), baseName: 'golden', baseDigest: '' };
    expect(definitionChanges(mark, undefined, { spec: { ...former, overlay: formerOverlayFormat } })).toEqual([]);
    expect(definitionChanges(mark, undefined, { spec: { ...former, overlay: extended } })).toEqual([
      `format of new disks ${formatOverlay(formerOverlayFormat)} → 128 KiB clusters with extended L2`,
    ]);
    expect(formatNotes(former, { ...former, overlay: extended })).toEqual([
      'new disks have 128 KiB clusters with extended L2; existing ones keep their format until a reset',
    ]);
    expect([
      formatNotes(undefined, { ...former, overlay: extended }),
      formatNotes(former, { ...former, overlay: formerOverlayFormat }),
    ]).toEqual([[], []]);
  });

  const check = (overlay: DomainSpec['overlay'], versions: { image: string; hypervisor: string }, gib = 1) => {
    const ports = {
      images: { version: async () => versions.image },
      hypervisor: { versions: async () => ({ libvirt: '9.0.0', hypervisor: versions.hypervisor }) },
    };
    const base = { name: 'golden', digest: '0'.repeat(64) };
    const record = { spec: { ...former, overlay }, base, members: [{ index: 1, name: 'lab-001' }] };
    return checkOverlays(ports as never, record as never, () => ({ virtualBytes: gib * KiB ** 3 }) as never);
  };
  const host = { image: '7.2.22', hypervisor: 'QEMU 7.2.22' };

  it('is refused before a change if QEMU does not know the format', async () => {
    expect(await check(extended, host)).toMatchObject([{ status: 'ok' }]);
    expect(await check(extended, { image: 'unknown', hypervisor: 'unknown' })).toMatchObject([{ status: 'ok' }]);
    for (const old of [{ image: '5.1.0' }, { hypervisor: 'QEMU 4.2.1' }])
      expect(await check(extended, { ...host, ...old })).toMatchObject([
        { status: 'failed', hint: expect.stringContaining('extended-l2=off') },
      ]);
    expect(await check(formerOverlayFormat, { image: '4.2.0', hypervisor: 'QEMU 4.2.0' })).toEqual([]);
  });

  it('is refused before a change if a disk is too large for the format', async () => {
    const small = { clusterBytes: 512, extendedL2: false };
    expect(await check(small, host, 128)).toEqual([]);
    expect(await check(small, host, 129)).toMatchObject([
      { status: 'failed', message: expect.stringMatching(/^a disk of 129 GiB is too large for 512 B clusters, which reach 128 GiB$/) },
    ]);
    expect(maxDiskBytes(extended)).toBe(maxDiskBytes(formerOverlayFormat) * 2);
  });
});
