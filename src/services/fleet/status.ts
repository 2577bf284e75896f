import { CowherdError, reportOf } from '../../core/errors.js';
import { type FleetMemory, judgeFleetMemory, type MemberMemory } from '../../core/fleet/memory.js';
import { judgeMember, type MemberState, type ObservedMember } from '../../core/fleet/observation.js';
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
  /** Where it is on its network: as its agent says, else as is reserved or leased. */
  address: string | null;
  /** Of 127.0.0.1, forwarded to its port 22. */
  sshPort: number | null;
  state: MemberState;
  /** libvirt's word for why the domain is as it is. */
  reason: string;
  overlayBytes: number;
  driftBytes: number;
  /** When its memory and disk were frozen, for "reset --warm"; null where they were not. */
  checkpointAt: string | null;
  /** Seconds since QEMU started; null where it is off or not visible. */
  uptimeSeconds: number | null;
  /** What its QEMU takes, where that was asked for; null where it is off. */
  memory?: MemberMemory | null;
  /** NAME@DIGEST of what its first disk stands on. */
  base: string;
  /** A newer base image of its line is in the store, or under other members. */
  outdated: boolean;
  problems: string[];
  /** What to do about a guest that went off or was paused by nobody's wish. */
  hint: string | null;
}

export interface FleetStatus {
  fleet: string;
  base: { name: string; digest: string; problem: string | null };
  /** NAME@DIGEST of the newest base image that members could stand on, where some do not; `cowherd rebase` moves them. */
  newerBase: string | null;
  counts: Record<MemberState, number>;
  /**
   * An operation that was begun and not ended. pid: the run that is at it; null where it was interrupted. lockedBy: what has the fleet
   * locked, in words.
   */
  unfinished?: { verb: string; startedAt: string; done: number; total: number; pid: number | null; lockedBy: string | null };
  /** What has the fleet locked now, where something has: a run of cowherd as a rule, whose verb is under way. */
  lock?: LockStatus;
  /** What the members take together, where that was asked for. */
  memory?: FleetMemory;
  members: MemberStatus[];
}

export interface StatusOptions {
  /** Read what each member's QEMU takes: costs the kernel a walk through its pages. */
  memory?: boolean;
}

/** Looks at libvirt and the disk. One broken member, or a broken base, never hides the others. */
export async function status(ports: Ports, fleet: string, options: StatusOptions = {}): Promise<FleetStatus> {
  // A spawn that has not written its record yet says in its intent what it makes.
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
  const stalled = observed.flatMap(({ domain }) => (domain?.state === 'paused' && domain.reason === 'I/O error' ? [domain.name] : []));
  const [addresses, diskErrors] = await Promise.all([observeAddresses(ports, record, observed), readDiskErrors(ports, stalled)]);
  const sharing = sharedAddresses(addresses);
  const memory = options.memory ? await readMemory(ports, record, observed, processes) : undefined;
  const now = ports.clock.now().getTime();
  const problemOf = new Map(problems);
  const isBroken = (ref: BaseRef): boolean => typeof problemOf.get(baseKey(ref)) === 'string';
  const counts: Record<MemberState, number> = { running: 0, shutOff: 0, paused: 0, broken: 0, missing: 0 };
  const members = observed.map((member): MemberStatus => {
    const changed = [baseOf(record, member), ...record.spec.disks.flatMap((disk) => disk.base ?? [])].some(isBroken);
    const { index, name, uuid, macs, sshPort, state, reason, overlayBytes, driftBytes, problems, hint } = judgeMember(
      member,
      // What was frozen is no drift.
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
      problems: [
        ...problems,
        ...(stalled.includes(name) ? [`paused by an I/O error${diskErrors.has(name) ? ` (${diskErrors.get(name)})` : ''}`] : []),
        ...(sharing.get(name) ?? []),
      ],
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

/** How long libvirt may take to ask QEMUs about their disks: a listing does not wait for one that hangs. */
const diskErrorsMs = 2_000;

async function readDiskErrors({ hypervisor, clock }: Ports, names: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const none = new Map<string, string>();
  if (names.length === 0) return none;
  const enough = new AbortController();
  const read = hypervisor.readDiskErrors(names).catch(() => none);
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
    // A domain with the member's name and another UUID is somebody else's.
    const state = domain?.uuid === uuid ? domain.state : undefined;
    return { name, state, process: process && { guestBytes: process.guestBytes, memory: read.get(process.pid) } };
  });
  return judgeFleetMemory(subjects, spec.memoryMiB * 1024 ** 2);
}

/** The latest import of those that members stand on, and of the fleet's base image's name. */
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

/** A damaged operation.json must not hide the members: it is told as an operation of which nothing is known. */
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

/** What is wrong with a base image, as words; null where nothing is. */
async function baseProblem(ports: Ports, ref: BaseRef): Promise<string | null> {
  try {
    const base = await ports.bases.get(ref);
    if (base === undefined) return `base image ${formatBaseRef(ref)} is not in the store any more`;
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
  /** The verb of the run of cowherd that is at work on it now. */
  running: string | null;
  /** Why the fleet cannot be told more about. */
  problem: string | null;
}

/** All fleets of the store, also those that are damaged. */
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
      // Without libvirt nothing can be told of any fleet: that is the answer then, once.
      if (error instanceof CowherdError && ['CONNECTION_FAILED', 'TOOL_MISSING', 'TOOL_TIMEOUT'].includes(error.code)) throw error;
      const { message } = reportOf(error);
      summaries.push({ fleet, members: 0, base: '', counts: null, overlayBytes: 0, unfinished: null, running: null, problem: message });
    }
  }
  return summaries;
}
