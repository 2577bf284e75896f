import { tagOf, tagPrefix } from '../../core/checkpoint.js';
import { memberDisks } from '../../core/disks.js';
import { CowherdError } from '../../core/errors.js';
import { baseOf, type FleetRecord } from '../../core/fleet.js';
import type { MemberIdentity } from '../../core/identity.js';
import { isOn } from '../../core/observation.js';
import type { Operation } from '../../core/operation.js';
import type { Outcome } from '../../core/outcome.js';
import { foreignReason, isForeign, type MarkedMember, type Plan } from '../../core/plan.js';
import { selectMembers } from '../../core/selection.js';
import type { WaitFor } from '../../core/stages.js';
import type { Ports } from '../../ports.js';
import { byName, dryOutcome, memberOf, newOperation, prepared, runChange } from '../change.js';
import { verifiedBases } from '../disks.js';
import { loadFleet, observeWithMarks, verifyNothingUnfinished, verifyWork, type WorkOptions, withFleetLock } from '../fleet-access.js';
import { beginWait, defaultWaitMs, verifyWaitable, waitForReadiness } from '../readiness.js';
import { withoutStrangeDisks } from '../reset.js';
import { verifyRoom } from '../room.js';
import { withoutMisplaced } from '../standing.js';
import { machineOf } from './standing.js';
import { diskPaths, dropStrays, memoryBytesOf } from './strays.js';

export interface CheckpointOptions extends WorkOptions {
  fleet: string;
  /** Names, numbers or ranges; all members where there are none. */
  members?: readonly string[] | undefined;
  /** What members must have reached before they are frozen. */
  wait?: WaitFor | undefined;
  timeoutMs?: number | undefined;
  /** Give the checkpoints up instead, and the space that they take. */
  drop?: boolean | undefined;
  dryRun?: boolean | undefined;
}

/**
 * Freezes running members: memory and disk of one moment, kept inside their overlays, for a warm reset to put them back to.
 * An earlier checkpoint goes when the new one is whole.
 */
export async function checkpoint(ports: Ports, options: CheckpointOptions): Promise<Outcome> {
  verifyWork(options);
  if (options.dryRun === true) return begin(ports, options);
  return withFleetLock(ports, options.fleet, async () => {
    await verifyNothingUnfinished(ports, options.fleet, () => false);
    return begin(ports, options);
  });
}

async function begin(ports: Ports, options: CheckpointOptions): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const record = await loadFleet(ports, options.fleet);
  verifyWaitable(record.spec, options.wait);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const drop = options.drop === true;
  const operation = newOperation(ports, 'checkpoint', {
    targets: chosen.map((member) => member.index),
    start: drop ? 'none' : 'same',
  });
  if (options.dryRun === true) {
    const observed = await observeWithMarks(ports, { ...record, members: chosen });
    const plan = await planCheckpoint(ports, record, observed, drop);
    return dryOutcome(ports, { verb: 'checkpoint', id: operation.id, record, plan, before: byName(observed), doneAs: doneAs(drop), began });
  }
  if (!drop) await verifiedBases(ports, { ...record, members: chosen });
  await ports.fleets.beginOperation(record.name, operation);
  return finishCheckpoint(ports, operation, new Set(), { ...options, isResumed: false });
}

/** Does what is left of a checkpoint whose intent is written. The fleet is locked. */
export async function finishCheckpoint(
  ports: Ports,
  operation: Operation,
  done: ReadonlySet<number>,
  options: WorkOptions & Pick<CheckpointOptions, 'fleet' | 'wait' | 'timeoutMs'> & { isResumed: boolean },
): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const drop = operation.start === 'none';
  const tag = tagOf(operation.id);
  const { record, observed, plan } = await prepared(ports, options.fleet, options.isResumed, async () => {
    const record = await loadFleet(ports, options.fleet);
    const left = record.members.filter(({ index }) => operation.targets.includes(index) && !done.has(index));
    const observed = await observeWithMarks(ports, { ...record, members: left });
    const able = await planCheckpoint(ports, record, observed, drop);
    const plan = await withoutLate(ports, record, able, observed, options);
    // Of the memory, what is not zero is written, and nobody knows it beforehand.
    const bytes = drop ? 0 : plan.members.length * record.spec.memoryMiB * 2 ** 20;
    if (bytes > 0) await verifyRoom(ports, ports.fleets.root, bytes, `The memory of ${plan.members.length} members of ${record.name}`);
    return { record, observed, plan };
  });
  const before = byName(observed);
  const work = new Freezer(ports, record, tag);
  const { outcome } = await runChange(
    ports,
    {
      verb: 'checkpoint',
      id: operation.id,
      record,
      plan,
      before,
      doneAs: doneAs(drop),
      began,
      context: {
        perform: {
          checkpoint: (member) => work.freeze(memberOf(before, member.name), options.signal),
          forget: (member) => work.forget(memberOf(before, member.name)),
        },
        journaled: true,
      },
      onComplete: () => ports.fleets.endOperation(record.name),
    },
    options,
  );
  return outcome;
}

function doneAs(drop: boolean): () => 'dropped' | 'checkpointed' {
  return () => (drop ? 'dropped' : 'checkpointed');
}

async function planCheckpoint(ports: Ports, record: FleetRecord, observed: readonly MarkedMember[], drop: boolean): Promise<Plan> {
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const member of observed) {
    const { domain, index, name } = member;
    const start = `cowherd start ${record.name} ${index}`;
    if (domain === undefined)
      plan.refused.push({ name, reason: 'it has no domain', hint: `Run "cowherd spawn ${record.name}" again: it makes what is missing.` });
    else if (isForeign(member, record.id)) plan.refused.push(foreignReason(member));
    else if (drop) plan.members.push({ index, name, steps: ['forget'], why: 'its checkpoint is given up', atNextStart: false });
    else if (!isOn(domain))
      plan.refused.push({
        name,
        reason: 'it is off, and a checkpoint is of a guest that is ready',
        hint: `Start it: ${start} --wait agent`,
      });
    else if (domain.state !== 'running')
      plan.refused.push({ name, reason: `it is ${domain.state} (${domain.reason})`, hint: `Let it go on first: ${start}` });
    else plan.members.push({ index, name, steps: ['checkpoint'], why: 'running', atNextStart: false });
  }
  return drop ? plan : withoutMisplaced(ports, record, observed, await withoutStrangeDisks(ports, record, observed, plan));
}

/** Nobody is frozen half-way to what was asked for. */
async function withoutLate(
  ports: Ports,
  record: FleetRecord,
  plan: Plan,
  observed: readonly MarkedMember[],
  { wait, timeoutMs, ...work }: WorkOptions & Pick<CheckpointOptions, 'wait' | 'timeoutMs'>,
): Promise<Plan> {
  const watch = await beginWait(ports, record, wait);
  if (watch === undefined || plan.members.length === 0) return plan;
  const members = byName(observed);
  const planned = plan.members.map(({ name }) => memberOf(members, name));
  const late = await waitForReadiness(ports, watch, planned, new Set(), timeoutMs ?? defaultWaitMs, work);
  const refused = [...late].map(([name, { error }]) => ({
    name,
    reason: `it is not ready: ${error.message}`,
    hint: error.hint ?? 'Give it longer with --timeout.',
  }));
  return { ...plan, members: plan.members.filter(({ name }) => !late.has(name)), refused: [...plan.refused, ...refused] };
}

const pingSeconds = 2;

class Freezer {
  readonly #host: Promise<{ libvirt: string; hypervisor: string }>;

  constructor(
    private readonly ports: Ports,
    private readonly record: FleetRecord,
    private readonly tag: string,
  ) {
    this.#host = ports.hypervisor.versions();
    // Asked for again by whoever needs it.
    this.#host.catch(() => undefined);
  }

  async freeze(member: MarkedMember, signal: AbortSignal | undefined): Promise<void> {
    const { ports, record, tag } = this;
    const { name } = member;
    const paths = diskPaths(ports, record, member);
    await ports.monitor.settle(name, memoryBytesOf(record));
    // Of a run that was killed between this and the record.
    if ((await this.#tags(paths)).has(tag)) await ports.monitor.drop(name, tag, paths);
    const agent = await ports.agent.command(name, { execute: 'guest-ping' }, pingSeconds).then(
      () => true,
      () => false,
    );
    const before = await ports.fleets.overlaySizes(record.name);
    try {
      await ports.monitor.save(name, tag, paths, memoryBytesOf(record));
      await this.#record(member, { agent, before, signal });
    } catch (error) {
      throw await this.#withoutRecord(error, member);
    }
    await dropStrays(ports, record, member);
  }

  /** Reads what was saved, and notes it. */
  async #record(
    member: MarkedMember,
    { agent, before, signal }: { agent: boolean; before: ReadonlyMap<string, number>; signal: AbortSignal | undefined },
  ): Promise<void> {
    const { ports, record, tag } = this;
    const { name, index } = member;
    const paths = diskPaths(ports, record, member);
    const after = await ports.fleets.overlaySizes(record.name);
    const digests: Record<string, string> = {};
    let stateBytes = 0;
    let allocatedBytes = 0;
    for (const [position, { stem }] of memberDisks(record, member).entries()) {
      const snapshot = await ports.checkpoints.held(paths[position] ?? '', tag, signal);
      if (snapshot === undefined) throw unreadable(name, tag);
      digests[stem] = snapshot.digest;
      stateBytes += snapshot.stateBytes;
      allocatedBytes += Math.max(0, (after.get(stem) ?? 0) - (before.get(stem) ?? 0));
    }
    const versions = { qemu: await ports.monitor.version(name), ...(await this.#host) };
    await ports.checkpoints.write(record.name, name, {
      version: 1,
      fleetId: record.id,
      index,
      tag,
      takenAt: ports.clock.now().toISOString(),
      base: { name: baseOf(record, member).name, digest: baseOf(record, member).digest },
      ...(await machineOf(ports, name, true)),
      versions,
      agent,
      stateBytes,
      allocatedBytes,
      digests,
    });
  }

  /** What was saved and is not noted is of no use. Of a run that was interrupted, "resume" sees to it. */
  async #withoutRecord(error: unknown, member: MarkedMember): Promise<unknown> {
    const { ports, record, tag } = this;
    if (!(error instanceof CowherdError) || error.code === 'INTERRUPTED') return error;
    if (error.code === 'TOOL_TIMEOUT') return mayBeSaved(error, record.name);
    await ports.monitor.drop(member.name, tag, diskPaths(ports, record, member)).catch(() => undefined);
    return error;
  }

  async forget(member: MarkedMember): Promise<void> {
    const { ports, record } = this;
    const paths = diskPaths(ports, record, member);
    // Before the snapshot: a record without one would be a broken checkpoint.
    await ports.checkpoints.forget(record.name, member.name);
    const isRunning = isOn(member.domain);
    // QEMU takes memory off the disk when it has saved it, and not when it has loaded it. Of a guest that is off, "compact" does.
    const [first = ''] = paths;
    if (isRunning) await ports.monitor.settle(member.name, memoryBytesOf(record));
    if (isRunning && (await ports.checkpoints.hasLooseState(first)))
      await ports.monitor.save(member.name, this.tag, paths, memoryBytesOf(record));
    for (const tag of await this.#tags(paths)) {
      if (isRunning) await ports.monitor.drop(member.name, tag, paths);
      else for (const path of paths) await ports.images.dropSnapshot(path, tag);
    }
  }

  async #tags(paths: readonly string[]): Promise<Set<string>> {
    const tags = new Set<string>();
    for (const path of paths) for (const tag of await this.ports.checkpoints.tags(path)) tags.add(tag);
    return tags;
  }
}

/** QEMU goes on with what it was asked for when it answers again. */
function mayBeSaved(error: CowherdError, fleet: string): CowherdError {
  const { code, message, details, hint } = error;
  return new CowherdError(code, message, {
    details: [
      ...details,
      'an earlier checkpoint of it stays as it is',
      `when it answers again it may save the guest yet: the next checkpoint or warm reset drops that, and so does "cowherd verify ${fleet} --fix"`,
    ],
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

function unreadable(member: MemberIdentity['name'], tag: string): CowherdError {
  return new CowherdError('STORE_FAILED', `The checkpoint ${tag} of ${member} cannot be read back from its disks`, {
    hint: `Is the disk full, or has somebody else written to it? Snapshots called ${tagPrefix}… are cowherd's.`,
  });
}
