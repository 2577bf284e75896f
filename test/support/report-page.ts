import type { HistoryEntry } from '../../src/core/fleet/history.js';
import { judgeFleetMemory } from '../../src/core/fleet/memory.js';
import { reportFleet, totalSavings } from '../../src/core/fleet/savings.js';
import type { HistoryNode } from '../../src/core/image/base-history.js';
import { listedContents, listedDefaults } from '../../src/core/image/listed-contents.js';
import type { BaseListing } from '../../src/services/base/bases.js';
import type { MemberStatus } from '../../src/services/fleet/status/member-status.js';
import type { ReportPage } from '../../src/services/fleet/status/page.js';
import type { FleetStatus } from '../../src/services/fleet/status/status.js';

/** Data of a report page, as the services would return them. */

const MiB = 1024 ** 2;
export const digest = 'ab12'.repeat(16);
const time = (minute: number): string => new Date(Date.UTC(2026, 10, 26, 8, minute)).toISOString();

export interface PageOptions {
  fleets?: Record<string, number>;
  /** Replaces every text that comes from a guest, a file name, a domain or a tool. */
  text?: string;
  /** Replaces fields of single members. */
  members?: Record<string, Partial<MemberStatus>>;
}

export function reportPageOf({ fleets = { lab: 12 }, text, members = {} }: PageOptions = {}): ReportPage {
  const base = { path: '/store/golden.qcow2', digest, allocatedBytes: 350 * MiB, virtualBytes: 2048 * MiB };
  const names = Object.keys(fleets);
  const reports = names.map((fleet) =>
    reportFleet({
      ...{ fleet, base, baseFiles: [{ path: base.path, allocatedBytes: base.allocatedBytes }], freshOverlayBytes: 12_288 },
      ...{ seedBytes: 0, sharedMemory: null },
      members: Array.from({ length: fleets[fleet] ?? 0 }, (_, position) => ({
        name: `${fleet}-${String(position + 1).padStart(3, '0')}`,
        allocatedBytes: 12_288 + Math.round(40_000 * 1.7 ** ((position * 7) % 15)),
        ...{ checkpointBytes: 0, strayBytes: 0, copyBytes: base.allocatedBytes, virtualBytes: base.virtualBytes },
      })),
    }),
  );
  return {
    ...{ host: text ?? 'lab-host', uri: 'qemu:///system', store: text ?? '/var/lib/libvirt/images/cowherd', time: time(55) },
    report: {
      ...{ fleets: reports, total: totalSavings(reports), failed: [] },
      disk: { path: text ?? '/store', totalBytes: 400 * 1024 * MiB, freeBytes: 123 * 1024 * MiB },
    },
    statuses: names.map((fleet) => statusOf(fleet, fleets[fleet] ?? 0, text, members)),
    lineage: lineageOf(text),
    bases: new Map([`golden@${digest.slice(0, 12)}`, `golden2@${'cd'.repeat(6)}`].map((ref) => [ref, listingOf(ref, names, text)])),
    histories: names.map((fleet) => ({ fleet, entries: historyOf(fleets[fleet] ?? 0, text) })),
    notes: text === undefined ? [] : [text],
  };
}

function statusOf(fleet: string, count: number, text: string | undefined, given: PageOptions['members'] = {}): FleetStatus {
  const all = Array.from({ length: count }, (_, position) => position + 1);
  const names = all.map((index) => `${fleet}-${String(index).padStart(3, '0')}`);
  const { members: memory, fleet: sums } = judgeFleetMemory(
    names.map((name, position) => ({
      ...{ name, state: 'running' as const },
      process: {
        guestBytes: 512 * MiB,
        memory: {
          residentBytes: 240 * MiB,
          proportionalBytes: (90 + (position % 40)) * MiB,
          swapBytes: 0,
          mergedBytes: 0,
          privateBytes: 0,
        } as any,
      },
    })),
    512 * MiB,
  );
  return {
    ...{ fleet, base: { name: 'golden', digest, problem: null }, newerBase: null, memory: sums },
    counts: { running: count, shutOff: 0, paused: 0, broken: 0, missing: 0 },
    members: names.map((name, position) => ({
      ...{
        index: position + 1,
        name: text ?? name,
        uuid: '',
        mac: '',
        address: null,
        sshPort: null,
        state: 'running',
        reason: text ?? 'booted',
      },
      ...{ overlayBytes: 0, driftBytes: 0, checkpointAt: null, uptimeSeconds: 60, memory: memory.get(name) ?? null },
      ...{ base: `golden@${digest.slice(0, 12)}`, outdated: position % 5 === 4, problems: text === undefined ? [] : [text], hint: null },
      ...given[name],
    })),
  };
}

function listingOf(ref: string, fleets: string[], text: string | undefined): BaseListing {
  const [name = ''] = ref.split('@');
  const isFirst = name === 'golden';
  return {
    ...{
      name,
      ref,
      digest,
      hash: 'sha256' as const,
      format: 'qcow2',
      virtualBytes: 2048 * MiB,
      allocatedBytes: 350 * MiB,
      importedAt: time(0),
      path: '/store',
    },
    ...{ depth: isFirst ? 1 : 2, layers: isFirst ? [] : [`golden@${digest.slice(0, 12)}`], memory: null, fleets: isFirst ? fleets : [] },
    promotedFrom: null,
    pulled: null,
    prepared: null,
    contents: listedContents(),
    defaults: listedDefaults(),
    problems: text === undefined ? [] : [text],
  };
}

function lineageOf(text: string | undefined): HistoryNode[] {
  const promoted: HistoryNode = {
    ...{ name: 'golden2', digest: 'cd'.repeat(32), importedAt: time(20), layered: true, promotedTo: [] },
    from: { fleet: 'lab', member: text ?? 'lab-003', base: { name: 'golden', digest } },
  };
  const from = { file: text ?? '/home/user/golden.qcow2' };
  return [{ ...{ name: 'golden', digest, importedAt: time(0), layered: false }, from, promotedTo: [promoted] }];
}

function historyOf(count: number, text: string | undefined): HistoryEntry[] {
  const entry = (minute: number, verb: string, diskBytes: number, failed: HistoryEntry['failed'] = {}): HistoryEntry => ({
    ...{ time: time(minute), startedAt: time(minute - 1), id: verb, verb: text ?? verb, done: `1-${count}`, failed, diskBytes },
  });
  const each = count * MiB;
  return [entry(5, 'spawn', each), entry(20, 'reset', 3 * each, { 2: 'NOT_READY' }), entry(45, 'reset', 2 * each)];
}
