import { CowherdError, reportOf } from '../../../core/errors.js';
import { type FleetMemory, judgeFleetMemory } from '../../../core/fleet/memory.js';
import type { MemberState, ObservedMember } from '../../../core/fleet/observation.js';
import { type BaseRef, basesOf, type FleetRecord } from '../../../core/fleet/record.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { baseKey } from '../../../core/image/base-chain.js';
import { describeHolder, type LockHolder, type LockStatus, lockStatus } from '../../../core/lock.js';
import { assertName } from '../../../core/names.js';
import type { Ports } from '../../../ports/index.js';
import type { QemuProcess } from '../../../ports/machine.js';
import { observeAddresses, sharedAddresses } from '../../guest/observe-addresses.js';
import { chainDifferences, loadFleet, observeFleet } from '../access.js';
import { type FleetReadings, type MemberStatus, memberStatus } from './member-status.js';

export interface FleetStatus {
  fleet: string;
  base: { name: string; digest: string; problem: string | null };
  /** NAME@DIGEST of the newest base image, if some members are based on an older one; `cowherd rebase` moves them. */
  newerBase: string | null;
  counts: Record<MemberState, number>;
  /** An unfinished operation. pid: the run that performs it; null if it was interrupted. lockedBy: a description of the lock holder.
   */
  unfinished?: { verb: string; startedAt: string; done: number; total: number; pid: number | null; lockedBy: string | null };
  /** The current holder of the fleet's lock, usually a run of cowherd. */
  lock?: LockStatus;
  /** Memory use of all members, if requested. */
  memory?: FleetMemory;
  members: MemberStatus[];
}

export interface StatusOptions {
  /** Read the memory use of each QEMU: the kernel walks its page tables for that. */
  memory?: boolean;
}

/** Reads the state from libvirt and the disk. A broken member or base image never hides the others. */
export async function status(ports: Ports, fleet: string, options: StatusOptions = {}): Promise<FleetStatus> {
  // Until a spawn has written its record, the record is in its intent.
  const record = (await intended(ports, fleet)) ?? (await loadFleet(ports, fleet));
  const holder = await ports.fleets.holder(fleet);
  const [observed, processes, problems, unfinished, newest, checkpoints] = await Promise.all([
    observeFleet(ports, record),
    ports.machine.qemuProcesses().catch(() => new Map<string, QemuProcess>()),
    Promise.all(basesOf(record).map(async (ref) => [baseKey(ref), await baseProblem(ports, ref)] as const)),
    readUnfinished(ports, fleet, holder),
    newestBase(ports, record).catch(() => undefined),
    ports.checkpoints.list(fleet),
  ]);
  const stalled = observed.flatMap(({ domain }) => (domain?.state === 'paused' && domain.reason === 'I/O error' ? [domain.uuid] : []));
  const [addresses, diskErrors] = await Promise.all([observeAddresses(ports, record, observed), readDiskErrors(ports, stalled)]);
  const memory = options.memory ? await readMemory(ports, record, observed, processes) : undefined;
  const problemOf = new Map(problems);
  const readings: FleetReadings = {
    record,
    problemOf,
    newest,
    checkpoints,
    processes,
    addresses,
    sharing: sharedAddresses(addresses),
    stalled: new Map(stalled.map((uuid) => [uuid, diskErrors.get(uuid)])),
    memory: memory?.members,
    now: ports.clock.now().getTime(),
  };
  const members = observed.map((member) => memberStatus(readings, member));
  const counts: Record<MemberState, number> = { running: 0, shutOff: 0, paused: 0, broken: 0, missing: 0 };
  for (const { state } of members) counts[state]++;
  return {
    fleet,
    base: { ...record.base, problem: [...problemOf.values()].find((problem) => problem !== null) ?? null },
    newerBase: newest !== undefined && members.some((member) => member.outdated) ? formatBaseRef(newest) : null,
    counts,
    ...(unfinished === undefined ? {} : { unfinished }),
    ...(holder === undefined ? {} : { lock: lockStatus(holder) }),
    ...(memory === undefined ? {} : { memory: memory.fleet }),
    members,
  };
}

/** Time limit for reading disk errors: a listing does not wait for a QEMU that hangs. */
const diskErrorsMs = 2_000;

async function readDiskErrors({ hypervisor, clock }: Ports, uuids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const none = new Map<string, string>();
  if (uuids.length === 0) return none;
  const enough = new AbortController();
  const read = hypervisor.readDiskErrors(uuids).catch(() => none);
  const first = await Promise.race([read, clock.sleep(diskErrorsMs, enough.signal).then(() => none)]);
  enough.abort();
  return first;
}

async function readMemory(
  { machine, bases }: Ports,
  { spec, base }: FleetRecord,
  observed: readonly ObservedMember[],
  processes: ReadonlyMap<string, QemuProcess>,
): Promise<ReturnType<typeof judgeFleetMemory>> {
  const theirs = observed.flatMap(({ uuid }) => processes.get(uuid) ?? []);
  const read = await machine.processMemory(theirs);
  const shared = spec.warm === undefined ? undefined : (await bases.get(base))?.warm?.ram?.allocatedBytes;
  const subjects = observed.map(({ name, uuid, domain }) => {
    const process = processes.get(uuid);
    // A domain with the member's name but another UUID is foreign.
    const state = domain?.uuid === uuid ? domain.state : undefined;
    return {
      name,
      state,
      process: process && { guestBytes: process.guestBytes, memory: read.get(process.pid), isSharing: process.isSharing },
    };
  });
  return judgeFleetMemory(subjects, spec.memoryMiB * 1024 ** 2, shared);
}

/** The latest import among the base images of the members and those with the name of the fleet's base image. */
async function newestBase(ports: Ports, record: FleetRecord): Promise<BaseImage | undefined> {
  const inUse = await Promise.all(basesOf({ ...record, spec: { ...record.spec, disks: [] } }).map((ref) => ports.bases.get(ref)));
  const namesake = await ports.bases.find(record.base.name).catch(() => undefined);
  return [...inUse, namesake].filter((base) => base !== undefined).sort((a, b) => b.importedAt.localeCompare(a.importedAt))[0];
}

async function intended(ports: Ports, fleet: string): Promise<FleetRecord | undefined> {
  assertName('fleet', fleet);
  if ((await ports.fleets.read(fleet)) !== undefined) return undefined;
  return (await ports.fleets.unfinished(fleet).catch(() => undefined))?.operation.record;
}

/** A damaged operation.json must not hide the members: it is reported as an unknown operation. */
export async function readUnfinished(
  ports: Pick<Ports, 'fleets'>,
  fleet: string,
  holder: LockHolder | undefined,
): Promise<FleetStatus['unfinished']> {
  const pid = holder?.kind === 'run' ? (holder.pid ?? null) : null;
  const lockedBy = holder === undefined ? null : describeHolder(holder);
  try {
    const unfinished = await ports.fleets.unfinished(fleet);
    if (unfinished === undefined) return undefined;
    const { verb, startedAt, targets } = unfinished.operation;
    return { verb, startedAt, done: unfinished.done.size, total: targets.length, pid, lockedBy };
  } catch (error) {
    return { verb: `operation (${reportOf(error).message})`, startedAt: 'at an unknown time', done: 0, total: 0, pid, lockedBy };
  }
}

/** The problem of a base image in words; null without one. */
async function baseProblem(ports: Ports, ref: BaseRef): Promise<string | null> {
  try {
    const base = await ports.bases.get(ref);
    if (base === undefined) return `base image ${formatBaseRef(ref)} is no longer in the store`;
    const differences = await chainDifferences(ports, base);
    return differences.length === 0 ? null : `base image ${formatBaseRef(ref)} has changed: ${differences.join(', ')}`;
  } catch (error) {
    return reportOf(error).message;
  }
}

export interface FleetSummary {
  fleet: string;
  members: number;
  base: string;
  counts: Record<MemberState, number> | null;
  /** null if the platform does not report it. */
  overlayBytes: number | null;
  unfinished: string | null;
  /** The verb of the run of cowherd that has it locked now. */
  running: string | null;
  /** Why the state of the fleet cannot be read. */
  problem: string | null;
}

/** All fleets of the store, including damaged ones. */
export async function listFleets(ports: Ports): Promise<FleetSummary[]> {
  const summaries: FleetSummary[] = [];
  for (const fleet of await ports.fleets.list()) {
    try {
      const { base, counts, members, unfinished, lock } = await status(ports, fleet);
      const overlayBytes = members.reduce((sum, member) => sum + (member.overlayBytes ?? 0), 0);
      summaries.push({
        fleet,
        members: members.length,
        base: formatBaseRef(base),
        counts,
        overlayBytes,
        unfinished: unfinished?.verb ?? null,
        running: lock?.isRun ? (lock.verb ?? 'an operation') : null,
        problem: base.problem,
      });
    } catch (error) {
      // Without libvirt no fleet can be read: fail once instead of per fleet.
      if (error instanceof CowherdError && ['CONNECTION_FAILED', 'TOOL_MISSING', 'TOOL_TIMEOUT'].includes(error.code)) throw error;
      const { message } = reportOf(error);
      summaries.push({ fleet, members: 0, base: '', counts: null, overlayBytes: 0, unfinished: null, running: null, problem: message });
    }
  }
  return summaries;
}
