import { foreignReason, isForeign } from '../../core/fleet/foreign-member.js';
import { isOn } from '../../core/fleet/observation.js';
import type { Operation } from '../../core/fleet/operation.js';
import type { Outcome } from '../../core/fleet/outcome.js';
import type { MarkedMember, Plan } from '../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { selectMembers } from '../../core/fleet/selection/selection.js';
import type { WaitFor, WaitRequest } from '../../core/guest/stages.js';
import { shellWord } from '../../core/quoting.js';
import { tagOf } from '../../core/snapshot/checkpoint.js';
import { isNotThere } from '../../core/snapshot/snapshot.js';
import type { Ports } from '../../ports/index.js';
import { assertNothingUnfinished, assertWork, loadFleet, observeWithMarks, type WorkOptions, withFleetLock } from '../fleet/access.js';
import { refuseMisplaced } from '../fleet/disks/backing-check.js';
import { refuseForeignDisks } from '../fleet/disks/foreign-disks.js';
import { verifiedBases } from '../fleet/disks/fresh-disks.js';
import { beginWait, defaultWaitMs, waitForReadiness, waitOf } from '../guest/readiness.js';
import { assertRoom } from '../preflight/disk-space.js';
import { byName, dryOutcome, executePlan, memberOf, newOperation, prepared } from '../run/run-plan.js';
import { Freezer } from './freezer.js';

export interface CheckpointOptions extends WorkOptions {
  fleet: string;
  /** Names, numbers or ranges; default: all members. */
  members?: readonly string[] | undefined;
  /** The readiness stage to wait for before the checkpoint. */
  wait?: WaitRequest | undefined;
  timeoutMs?: number | undefined;
  /** Remove the checkpoints instead and free their space. */
  drop?: boolean | undefined;
  dryRun?: boolean | undefined;
}

/** Takes a checkpoint of running members: memory and disk of the same moment, stored in their overlays for a warm reset. An earlier checkpoint is removed when the new one is complete.
 */
export async function checkpoint(ports: Ports, options: CheckpointOptions): Promise<Outcome> {
  assertWork(options);
  if (options.dryRun === true) {
    await assertNothingUnfinished(ports, options.fleet, () => false);
    return begin(ports, options);
  }
  return withFleetLock(ports, options.fleet, async () => {
    await assertNothingUnfinished(ports, options.fleet, () => false);
    return begin(ports, options);
  });
}

async function begin(ports: Ports, options: CheckpointOptions): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const record = await loadFleet(ports, options.fleet);
  const wait = await waitOf(ports, record, options.wait);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const drop = options.drop === true;
  const operation = newOperation(ports, 'checkpoint', {
    targets: chosen.map((member) => member.index),
    start: drop ? 'none' : 'same',
  });
  if (!drop) await verifiedBases(ports, { ...record, members: chosen });
  if (options.dryRun === true) {
    const observed = await observeWithMarks(ports, { ...record, members: chosen });
    const plan = await planCheckpoint(ports, record, observed, drop);
    return dryOutcome(ports, { verb: 'checkpoint', id: operation.id, record, plan, before: byName(observed), doneAs: doneAs(drop), began });
  }
  await ports.fleets.beginOperation(record.name, operation);
  return finishCheckpoint(ports, operation, new Set(), { ...options, wait, isResumed: false });
}

type FinishOptions = WorkOptions & Pick<CheckpointOptions, 'fleet' | 'timeoutMs'> & { wait?: WaitFor | undefined; isResumed: boolean };

/** Completes a checkpoint whose intent is written. The fleet is locked. */
export async function finishCheckpoint(
  ports: Ports,
  operation: Operation,
  done: ReadonlySet<number>,
  options: FinishOptions,
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
    // Only memory that is not zero is written, but its size is not known beforehand.
    const bytes = drop ? 0 : plan.members.length * record.spec.memoryMiB * 2 ** 20;
    if (bytes > 0) await assertRoom(ports, ports.fleets.root, bytes, `The memory of ${plan.members.length} members of ${record.name}`);
    return { record, observed, plan };
  });
  const before = byName(observed);
  const work = new Freezer(ports, record, tag);
  const { outcome } = await executePlan(
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
  const closed = await closedDisks(ports, record, observed);
  for (const member of observed) {
    const { domain, index, name } = member;
    const start = `cowherd start ${record.name} ${index}`;
    if (domain === undefined)
      plan.refused.push({
        name,
        reason: 'it has no domain',
        hint: `Run "cowherd spawn ${record.name}" again: it creates missing domains.`,
      });
    else if (isForeign(member, record.id)) plan.refused.push(foreignReason(member));
    else if (closed.has(name))
      plan.refused.push({
        name,
        reason: `${ports.machine.userName()} cannot read its disk ${closed.get(name)}, which belongs to QEMU's user while the domain is running`,
        hint: `Run it as root: sudo cowherd checkpoint ${record.name} ${index}${drop ? ' --drop' : ''} --store ${shellWord(ports.fleets.root)} --connect ${ports.hypervisor.uri}`,
      });
    else if (drop) plan.members.push({ index, name, steps: ['forget'], why: 'its checkpoint is removed', atNextStart: false });
    else if (!isOn(domain))
      plan.refused.push({
        name,
        reason: 'it is stopped; a checkpoint needs a running guest',
        hint: `Start it: ${start} --wait agent`,
      });
    else if (domain.state !== 'running')
      plan.refused.push({ name, reason: `it is ${domain.state} (${domain.reason})`, hint: `Resume it first: ${start}` });
    else plan.members.push({ index, name, steps: ['checkpoint'], why: 'running', atNextStart: false });
  }
  return drop ? plan : refuseMisplaced(ports, record, observed, await refuseForeignDisks(ports, record, observed, plan));
}

/** Disks that this user cannot read, by member name: a checkpoint is read back from the disk. */
async function closedDisks(
  { machine, disks, fleets }: Pick<Ports, 'machine' | 'disks' | 'fleets'>,
  record: FleetRecord,
  observed: readonly MarkedMember[],
): Promise<Map<string, string>> {
  const closed = new Map<string, string>();
  if (machine.isRoot()) return closed;
  for (const { name, overlayBytes, domain } of observed) {
    if (overlayBytes === undefined || !isOn(domain)) continue;
    const { overlay } = fleets.files(record.name, name);
    const obstacle = await disks.obstacle(overlay, 'read');
    if (obstacle !== undefined && obstacle !== isNotThere) closed.set(name, overlay);
  }
  return closed;
}

/** The plan without members that do not reach the requested stage in time. */
async function withoutLate(
  ports: Ports,
  record: FleetRecord,
  plan: Plan,
  observed: readonly MarkedMember[],
  { wait, timeoutMs, ...work }: WorkOptions & Pick<FinishOptions, 'wait' | 'timeoutMs'>,
): Promise<Plan> {
  const watch = await beginWait(ports, record, wait);
  if (watch === undefined || plan.members.length === 0) return plan;
  const members = byName(observed);
  const planned = plan.members.map(({ name }) => memberOf(members, name));
  const late = await waitForReadiness(ports, watch, planned, new Set(), timeoutMs ?? defaultWaitMs, work);
  const refused = [...late].map(([name, { error }]) => ({
    name,
    reason: `it is not ready: ${error.message}`,
    hint: error.hint ?? 'Allow more time with --timeout.',
  }));
  return { ...plan, members: plan.members.filter(({ name }) => !late.has(name)), refused: [...plan.refused, ...refused] };
}
