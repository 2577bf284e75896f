import { CowherdError, reportOf } from '../../core/errors.js';
import { type FleetMemory, judgeFleetMemory, type MemberMemory } from '../../core/fleet/memory.js';
import { type DomainState, judgeMember, type MemberState, type ObservedMember } from '../../core/fleet/observation.js';
import { type BaseRef, baseOf, basesOf, type FleetRecord } from '../../core/fleet/record.js';
import { type BaseImage, formatBaseRef } from '../../core/image/base.js';
import { baseKey } from '../../core/image/base-chain.js';
import { describeHolder, type LockHolder, type LockStatus, lockStatus } from '../../core/lock.js';
import { assertName } from '../../core/names.js';
import type { Ports } from '../../ports/index.js';
import type { QemuProcess } from '../../ports/machine.js';
import { observeAddresses, sharedAddresses } from '../guest/observe-addresses.js';
import { chainDifferences, loadFleet, observeFleet } from './access.js';

export interface MemberStatus {
  index: number;
  name: string;
  uuid: string;
  mac: string;
  /** Address on its network: reported by the agent, otherwise reserved or leased. */
  address: string | null;
  /** Port of 127.0.0.1 that is forwarded to its port 22. */
  sshPort: number | null;
  state: MemberState;
  /** libvirt's reason for the state. */
  reason: string;
  overlayBytes: number;
  driftBytes: number;
  /** Time of the checkpoint for "reset --warm"; null without one. */
  checkpointAt: string | null;
  /** Seconds since QEMU started; null if it is stopped or not visible. */
  uptimeSeconds: number | null;
  /** Memory use of its QEMU, if requested; null if it is stopped. */
  memory?: MemberMemory | null;
  /** NAME@DIGEST of the base image of its root disk. */
  base: string;
  /** Whether the store or other members have a newer base image of its lineage. */
  outdated: boolean;
  problems: string[];
  /** What to do about a guest that stopped or was paused unexpectedly. */
  hint: string | null;
}

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
  const sharing = sharedAddresses(addresses);
  const memory = options.memory ? await readMemory(ports, record, observed, processes) : undefined;
  const now = ports.clock.now().getTime();
  const problemOf = new Map(problems);
  const isBroken = (ref: BaseRef): boolean => typeof problemOf.get(baseKey(ref)) === 'string';
  const counts: Record<MemberState, number> = { running: 0, shutOff: 0, paused: 0, broken: 0, missing: 0 };
  const stallOf = (domain: DomainState | undefined): string[] => {
    if (domain === undefined || !stalled.includes(domain.uuid)) return [];
    const why = diskErrors.get(domain.uuid);
    return [`paused by an I/O error${why === undefined ? '' : ` (${why})`}`];
  };
  const members = observed.map((member): MemberStatus => {
    const changed = [baseOf(record, member), ...record.spec.disks.flatMap((disk) => disk.base ?? [])].some(isBroken);
    const { index, name, uuid, macs, sshPort, state, reason, overlayBytes, driftBytes, problems, hint } = judgeMember(
      member,
      // A checkpoint does not count as drift.
      record.freshOverlayBytes + (checkpoints.get(member.name)?.allocatedBytes ?? 0),
      changed ? 'base changed' : undefined,
    );
    counts[state]++;
    const since = processes.get(uuid)?.startedAt;
    return {
      index,
      name,
      uuid,
      mac: macs[0] ?? '',
      address: addresses.get(name) ?? null,
      sshPort: sshPort ?? null,
      state,
      reason,
      overlayBytes: overlayBytes ?? 0,
      driftBytes,
      checkpointAt: checkpoints.get(name)?.takenAt ?? null,
      uptimeSeconds: since === undefined ? null : Math.max(0, Math.round((now - since) / 1000)),
      ...(memory === undefined ? {} : { memory: memory.members.get(name) ?? null }),
      base: formatBaseRef(baseOf(record, member)),
      outdated: newest !== undefined && baseOf(record, member).digest !== newest.digest,
      problems: [...problems, ...stallOf(member.domain), ...(sharing.get(name) ?? [])],
      hint: hint ?? null,
    };
  });
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
  { machine }: Ports,
  { spec }: FleetRecord,
  observed: readonly ObservedMember[],
  processes: ReadonlyMap<string, QemuProcess>,
): Promise<ReturnType<typeof judgeFleetMemory>> {
  const theirs = observed.flatMap(({ uuid }) => processes.get(uuid) ?? []);
  const read = await machine.processMemory(theirs);
  const subjects = observed.map(({ name, uuid, domain }) => {
    const process = processes.get(uuid);
    // A domain with the member's name but another UUID is foreign.
    const state = domain?.uuid === uuid ? domain.state : undefined;
    return { name, state, process: process && { guestBytes: process.guestBytes, memory: read.get(process.pid) } };
  });
  return judgeFleetMemory(subjects, spec.memoryMiB * 1024 ** 2);
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
async function readUnfinished(ports: Ports, fleet: string, holder: LockHolder | undefined): Promise<FleetStatus['unfinished']> {
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
  overlayBytes: number;
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
      const overlayBytes = members.reduce((sum, member) => sum + member.overlayBytes, 0);
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
