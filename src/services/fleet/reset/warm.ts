import pLimit from 'p-limit';
import { CowherdError } from '../../../core/errors.js';
import { foreignReason, isForeign, unreadReason } from '../../../core/fleet/foreign-member.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { Operation } from '../../../core/fleet/operation.js';
import { mergeOutcomes, type Outcome } from '../../../core/fleet/outcome.js';
import type { MarkedMember, Plan, StepName } from '../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import type { CheckpointRecord } from '../../../core/snapshot/checkpoint.js';
import type { Ports } from '../../../ports/index.js';
import { PostRestoreFixup } from '../../checkpoint/post-restore.js';
import { diskPaths, dropStrays, memoryBytesOf } from '../../checkpoint/strays.js';
import { assertWhole, checkpointStandings, type MemberStanding } from '../../checkpoint/validation.js';
import { beginWait, waitOf } from '../../guest/readiness.js';
import { isComplete } from '../../run/member-executor.js';
import { byName, dryOutcome, executePlan, memberOf, newOperation, offNames, prepared } from '../../run/run-plan.js';
import { loadFleet, observeWithMarks } from '../access.js';
import { refuseMisplaced, refuseStaleDefinitions } from '../disks/backing-check.js';
import { refuseForeignDisks } from '../disks/foreign-disks.js';
import { verifiedBases } from '../disks/fresh-disks.js';
import { type FinishOptions, finishColdReset, type ResetOptions } from './cold.js';

/** Reset to the checkpoint: restores memory and disk without a boot. */

/** Most of the time is spent waiting for agents, which costs nothing. */
const defaultWarmConcurrency = 32;
/** Checkpoints that are verified at the same time: one is hashed while another is read from disk. */
const verifyConcurrency = 2;

/** @throws BAD_USAGE */
export function assertWarmOptions({ start = 'same', keepInstance }: ResetOptions): void {
  if (start !== 'none' && keepInstance !== true) return;
  throw new CowherdError('BAD_USAGE', `${keepInstance === true ? '--keep-instance' : '--start none'} cannot be used with --warm`, {
    hint: 'A warm reset restores running guests. Omit the option.',
  });
}

/** The fleet is locked, unless it is a dry run. */
export async function beginWarmReset(ports: Ports, options: ResetOptions): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const record = await loadFleet(ports, options.fleet);
  const wait = await waitOf(ports, record, options.wait);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const operation = newOperation(ports, 'reset', {
    targets: chosen.map(({ index }) => index),
    start: 'all',
    warm: options.hook === undefined ? {} : { hook: options.hook },
  });
  if (options.dryRun === true) {
    await verifiedBases(ports, { ...record, members: chosen });
    const observed = await observeWithMarks(ports, { ...record, members: chosen });
    const { plan, cold } = await planWarmReset(ports, record, observed);
    const change = { verb: 'reset', id: operation.id, record, plan, before: byName(observed), doneAs: () => 'restored' as const, began };
    return { ...dryOutcome(ports, change), notes: coldNotes(cold) };
  }
  await ports.fleets.beginOperation(record.name, operation);
  return finishWarmReset(ports, operation, new Set(), { ...options, wait, isResumed: false });
}

/** Completes a warm reset whose intent is written, then cold-resets members whose checkpoint cannot be restored. */
export async function finishWarmReset(
  ports: Ports,
  operation: Operation,
  done: ReadonlySet<number>,
  options: FinishOptions,
): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const { record, observed, plan, cold, watch, standings, guests } = await prepared(ports, options.fleet, options.isResumed, async () => {
    const record = await loadFleet(ports, options.fleet);
    const left = record.members.filter(({ index }) => operation.targets.includes(index) && !done.has(index));
    await verifiedBases(ports, { ...record, members: left });
    const observed = await observeWithMarks(ports, { ...record, members: left });
    const planned = await planWarmReset(ports, record, observed);
    const { timeoutMs, signal } = options;
    const guests = await PostRestoreFixup.of(ports, record, { hook: operation.warm?.hook, timeoutMs, signal });
    return { record, observed, ...planned, guests, watch: await beginWait(ports, record, options.wait) };
  });
  const before = byName(observed);
  const { run, outcome } = await executePlan(
    ports,
    {
      verb: 'reset',
      id: operation.id,
      record,
      plan,
      before,
      doneAs: () => 'restored',
      began,
      context: {
        perform: {
          ...warmSteps(ports, record, before, standings, options.signal),
          fixUp: (member) => guests.settle(member, standings.get(member.name)),
        },
        journaled: true,
      },
      watch,
    },
    { ...options, concurrency: options.concurrency ?? defaultWarmConcurrency },
  );
  if (!isComplete(run)) return outcome;
  if (cold.length === 0) {
    await ports.fleets.endOperation(record.name);
    return outcome;
  }
  const next = newOperation(ports, 'reset', { targets: cold.map(({ index }) => index), start: 'all' });
  await ports.fleets.beginOperation(record.name, next);
  const then = await finishColdReset(ports, next, new Set(), { ...options, isResumed: true });
  const merged = mergeOutcomes([outcome, then], outcome.operation.seconds + then.operation.seconds);
  return { ...merged, notes: [...merged.notes, ...coldNotes(cold)] };
}

/** Compares a checkpoint with its record, starts the member paused, and loads the checkpoint. */
function warmSteps(
  ports: Ports,
  record: FleetRecord,
  before: ReadonlyMap<string, MarkedMember>,
  standings: ReadonlyMap<string, MemberStanding>,
  signal: AbortSignal | undefined,
): Partial<Record<StepName, (member: MemberIdentity) => Promise<void>>> {
  const off = offNames(before);
  const reads = pLimit(verifyConcurrency);
  return {
    verify: ({ name }) => reads(() => assertWhole(ports, record, memberOf(before, name), recordOf(standings, name), signal)),
    startPaused: async ({ name }) => {
      // Saved memory belongs to the disk that is replaced.
      if (off.has(name)) await ports.hypervisor.forgetSavedState(name);
      await ports.fleets.prepareStart(record.name, name);
      await ports.hypervisor.startPaused(name);
    },
    restoreCheckpoint: async ({ name }) => {
      const member = memberOf(before, name);
      await ports.monitor.load(name, recordOf(standings, name).tag, diskPaths(ports, record, member), memoryBytesOf(record));
      await assertRunning(ports, name);
      await dropStrays(ports, record, member, true);
    },
  };
}

function recordOf(standings: ReadonlyMap<string, MemberStanding>, name: string): CheckpointRecord {
  const standing = standings.get(name);
  if (standing === undefined || !('record' in standing)) throw new Error(`no checkpoint of ${name} was examined`);
  return standing.record;
}

function coldNotes(cold: ReadonlyArray<{ name: string; why: string }>): string[] {
  const names = new Map<string, string[]>();
  for (const { name, why } of cold) {
    const those = names.get(why);
    if (those === undefined) names.set(why, [name]);
    else those.push(name);
  }
  return [...names].map(([why, [first = '', ...others]]) => {
    const whose = others.length === 0 ? first : `${first} and ${others.length} more`;
    return `${whose} reset cold: ${why}. Take a new checkpoint when they are ready: cowherd checkpoint`;
  });
}

/** The restore bypassed libvirt: checks that libvirt sees the domain running. */
async function assertRunning({ hypervisor }: Pick<Ports, 'hypervisor'>, name: string): Promise<void> {
  const { state, reason } = await hypervisor.stateOf(name);
  if (state === 'paused') return hypervisor.resume(name);
  if (state === 'running') return;
  throw new CowherdError('NOT_READY', `${name} is ${state} (${reason}) after its memory was restored`, {
    hint: `See /var/log/libvirt/qemu/${name}.log; a cold reset always works: cowherd reset`,
  });
}

async function planWarmReset(
  ports: Ports,
  record: FleetRecord,
  observed: readonly MarkedMember[],
): Promise<{ plan: Plan; cold: Array<{ index: number; name: string; why: string }>; standings: Map<string, MemberStanding> }> {
  const asked = observed.filter(
    (member) => member.domain !== undefined && !isForeign(member, record.id) && member.overlayBytes !== undefined,
  );
  const standings = await checkpointStandings(ports, record, asked);
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  const cold: Array<{ index: number; name: string; why: string }> = [];
  for (const member of observed) {
    const { index, name, domain } = member;
    const standing = standings.get(name);
    const refuse = (reason: string, hint: string): void => void plan.refused.push({ name, reason, hint });
    const coldHint = `A cold reset gives it a fresh disk: cowherd reset ${record.name} ${index}`;
    if (domain === undefined) refuse('it has no domain', `Run "cowherd spawn ${record.name}" again: it creates what is missing.`);
    else if (isForeign(member, record.id)) plan.refused.push(foreignReason(member));
    else if (standing === undefined) refuse('its overlay with the checkpoint is missing', coldHint);
    else if (standing.kind === 'none')
      refuse('it has no checkpoint', `When it is ready: cowherd checkpoint ${record.name} ${index}. ${coldHint}`);
    else if (standing.kind === 'unknown') plan.refused.push(unreadReason(name, standing.error));
    else if (standing.kind === 'broken') refuse(standing.why, `Nothing was loaded. ${coldHint}`);
    else if (standing.kind === 'outdated') cold.push({ index, name, why: standing.why });
    else {
      const steps: StepName[] = isOn(domain) ? ['verify', 'restoreCheckpoint'] : ['verify', 'startPaused', 'restoreCheckpoint'];
      plan.members.push({ index, name, steps: [...steps, 'fixUp'], why: `checkpoint of ${standing.record.takenAt}`, atNextStart: false });
    }
  }
  const own = await refuseForeignDisks(ports, record, observed, plan);
  return { plan: await refuseMisplaced(ports, record, observed, refuseStaleDefinitions(record, observed, own)), cold, standings };
}
