import pLimit from 'p-limit';
import { CowherdError, type ErrorReport, reportOf } from '../../core/errors.js';
import { type MemberDisk, memberDisks } from '../../core/fleet/disks.js';
import { isOn } from '../../core/fleet/observation.js';
import type { MarkedMember } from '../../core/fleet/plan/member-plan.js';
import type { BaseRef, FleetRecord } from '../../core/fleet/record.js';
import { selectMembers } from '../../core/fleet/selection/selection.js';
import type { BaseImage } from '../../core/image/base.js';
import { baseKey } from '../../core/image/base-chain.js';
import type { Ports } from '../../ports/index.js';
import { assertRoom } from '../preflight/disk-space.js';
import { isAborted } from '../run/member-executor.js';
import { remember } from '../run/remember.js';
import {
  assertNothingUnfinished,
  assertWork,
  loadFleet,
  observeFleet,
  observeWithMarks,
  verifiedBase,
  type WorkOptions,
  withFleetLock,
} from './access.js';
import { assertOffline, assertOwnDisk, runningError } from './disks/offline-disk.js';

/** Limited by disk I/O: more at once gain little, and each needs space for a copy. */
const defaultCompactConcurrency = 2;

export interface CompactOptions extends WorkOptions {
  fleet: string;
  /** Names, numbers or ranges; default: all. A running member is skipped by default, and fails if it was named. */
  members?: readonly string[] | undefined;
}

export interface MemberCompaction {
  index: number;
  name: string;
  /** unchanged: a copy would be no smaller. skipped: it is running. */
  outcome: 'compacted' | 'unchanged' | 'skipped' | 'failed' | 'cancelled';
  /** Bytes on disk. */
  beforeBytes: number;
  afterBytes: number;
  error?: ErrorReport;
}

export interface CompactOutcome {
  fleet: string;
  seconds: number;
  interrupted: boolean;
  counts: Record<MemberCompaction['outcome'], number>;
  freedBytes: number;
  members: MemberCompaction[];
}

/** Frees blocks of overlays that the guest trimmed or overwrote with zeros. Copies the overlay without them, compares the guest-visible content of both, and replaces the overlay if the copy is smaller.
 */
export function compact(ports: Ports, options: CompactOptions): Promise<CompactOutcome> {
  return withFleetLock(ports, options.fleet, async () => {
    assertWork(options);
    const began = ports.clock.monotonic();
    const record = await loadFleet(ports, options.fleet);
    await assertNothingUnfinished(ports, record.name, () => false);
    const words = options.members ?? [];
    const chosen = await observeWithMarks(ports, { ...record, members: selectMembers(record.name, record.members, words) });
    await ports.overlays.sweep(record.name);
    const offline = chosen.filter((member) => !isOn(member.domain));
    const concurrency = options.concurrency ?? defaultCompactConcurrency;
    await assertRoomForCopies(ports, record.name, offline, concurrency);

    const unread = new Map<string, CowherdError>();
    const names = offline.map((member) => member.name);
    const work = new Compaction(ports, record, await ports.hypervisor.readXml(names, unread), unread, options);
    const limit = pLimit(concurrency);
    let done = 0;
    const members = await Promise.all(
      chosen.map((member) =>
        limit(async () => {
          const result = await work.settle(member, words.length > 0);
          options.onProgress?.({ kind: 'stage', stage: 'compact', done: ++done, total: chosen.length });
          return result;
        }),
      ),
    );
    const counts: CompactOutcome['counts'] = { compacted: 0, unchanged: 0, skipped: 0, failed: 0, cancelled: 0 };
    for (const { outcome } of members) counts[outcome]++;
    const seconds = Math.round(ports.clock.monotonic() - began) / 1000;
    const ended = members.map((member) => ({ ...member, isDone: member.outcome === 'compacted' }));
    await remember(ports, record.name, { verb: 'compact', seconds, members: ended });
    return {
      fleet: record.name,
      seconds,
      interrupted: isAborted(options.signal),
      counts,
      freedBytes: members.reduce((sum, { beforeBytes, afterBytes }) => sum + beforeBytes - afterBytes, 0),
      members,
    };
  });
}

/** In the worst case a copy is as large as its overlay; `concurrency` copies exist at the same time. */
function assertRoomForCopies(ports: Ports, fleet: string, members: readonly MarkedMember[], concurrency: number): Promise<void> {
  const largest = members.map((member) => member.overlayBytes ?? 0).sort((a, b) => b - a);
  const bytes = largest.slice(0, concurrency).reduce((sum, size) => sum + size, 0);
  return assertRoom(ports, ports.fleets.root, bytes, `Compacting ${fleet}, ${Math.min(concurrency, members.length)} at a time,`);
}

class Compaction {
  readonly #bases = new Map<string, Promise<BaseImage>>();

  constructor(
    private readonly ports: Ports,
    private readonly record: FleetRecord,
    private readonly documents: ReadonlyMap<string, string>,
    private readonly unread: ReadonlyMap<string, CowherdError>,
    private readonly options: CompactOptions,
  ) {}

  /** Never throws: a failing member does not prevent the others. */
  async settle(member: MarkedMember, isNamed: boolean): Promise<MemberCompaction> {
    const { index, name, overlayBytes: beforeBytes = 0 } = member;
    const result = { index, name, beforeBytes, afterBytes: beforeBytes };
    if (isAborted(this.options.signal)) return { ...result, outcome: 'cancelled' };
    if (isOn(member.domain) && !isNamed) return { ...result, outcome: 'skipped' };
    try {
      if (isOn(member.domain)) throw runningError(this.record, member);
      const unread = this.unread.get(member.name);
      if (unread !== undefined) throw unread;
      assertOwnDisk(this.ports, this.record, member, this.documents.get(member.name));
      for (const disk of memberDisks(this.record, member)) result.afterBytes -= await this.#shrink(member, disk);
      return { ...result, outcome: result.afterBytes === beforeBytes ? 'unchanged' : 'compacted' };
    } catch (error) {
      if (error instanceof CowherdError && error.code === 'INTERRUPTED') return { ...result, outcome: 'cancelled' };
      return { ...result, outcome: 'failed', error: reportOf(error) };
    }
  }

  /** @returns bytes freed on disk */
  async #shrink(member: MarkedMember, { stem, origin }: MemberDisk): Promise<number> {
    const { ports, record, options } = this;
    const { signal } = options;
    const overlay = ports.fleets.files(record.name, member.name).disk(stem);
    const base = 'base' in origin ? await this.#base(origin.base) : undefined;
    await assertOffline(ports, record, member, { overlay, base, signal });
    if ((member.overlayBytes ?? 0) <= record.freshOverlayBytes) return 0;
    const copy = await ports.overlays.beginCopy(record.name, stem);
    try {
      const source = { path: overlay, format: 'qcow2' as const };
      const target = { path: copy.path, format: 'qcow2' as const };
      // The fleet's format may be another by now: it is for fresh disks.
      const { clusterBytes, extendedL2 } = await ports.disks.qcow2Header(overlay);
      await ports.images.convert({ source, target, backing: base, layout: { clusterBytes, extendedL2 }, signal });
      const sizes = await copy.sizes();
      if (sizes.copy >= sizes.overlay) return 0;
      if (!(await ports.images.isSameDisk(source, target, signal))) {
        throw new CowherdError('TOOL_FAILED', `The compacted copy of ${overlay} has other content; the overlay is unchanged`, {
          hint: 'qemu-img convert has failed without an error. Please report it with the output of "qemu-img --version".',
        });
      }
      // If the member was started meanwhile, it would keep writing to the replaced file.
      const [now] = await observeFleet(ports, { ...record, members: [member] });
      if (isOn(now?.domain)) throw runningError(record, member);
      await copy.place();
      return sizes.overlay - sizes.copy;
    } finally {
      await copy.discard();
    }
  }

  /** The seals are compared once per base image. */
  #base(ref: BaseRef): Promise<BaseImage> {
    const base = this.#bases.get(baseKey(ref)) ?? verifiedBase(this.ports, ref);
    this.#bases.set(baseKey(ref), base);
    return base;
  }
}

/** 0 all done, 4 some failed, 130 interrupted. */
export function exitCodeOfCompact({ counts, interrupted }: CompactOutcome): number {
  if (interrupted) return 130;
  return counts.failed > 0 ? 4 : 0;
}
