import pLimit from 'p-limit';
import { formatDuration } from '../../core/duration.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { type DomainState, isOn, type ObservedMember } from '../../core/fleet/observation.js';
import type { StageTime } from '../../core/fleet/operation.js';
import type { Plan } from '../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { ReadyStage, WaitFor } from '../../core/guest/stages.js';
import type { ProgressListener } from '../../core/progress.js';
import { parseNetwork } from '../../core/spec/flag-values.js';
import type { DomainSpec } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';
import type { WorkOptions } from '../fleet/access.js';
import { isAborted, type RunResult } from '../run/member-executor.js';
import { Endpoints } from './endpoints.js';
import { ReadinessProbe, type Watch } from './readiness-probe.js';

/**
 * Waits until guests are ready, stage by stage: all members at once with one deadline. A member that is stuck does not affect the others.
 */

export const defaultWaitMs = 300_000;

/** Poll interval per member with back-off, in milliseconds. */
const pause = { first: 250, most: 2_000, growth: 1.15 };
/** A console log is a local file, so polling is cheap. */
const consolePauseMs = 200;
/** Concurrent connection attempts to guests. */
const probeConcurrency = 32;

export interface Late {
  stage: ReadyStage;
  error: CowherdError;
}

export interface Waiting {
  /** Members that are not ready, by name. */
  late: ReadonlyMap<string, Late>;
  stages: StageTime[];
}

export const notWaited: Waiting = { late: new Map(), stages: [] };

/** @throws BAD_USAGE if members of such a fleet can never reach the stage */
export function assertWaitable(spec: DomainSpec, wait: WaitFor | undefined): void {
  const { kind } = parseNetwork(spec.network);
  const needs = (stage: ReadyStage): boolean => wait?.stages.includes(stage) === true;
  if (kind === 'none' && needs('address')) {
    throw new CowherdError('BAD_USAGE', 'Members with --network none have no address to wait for', {
      hint: 'Use a network (--network user --forward-ssh, or network=default), or wait for agent or console=REGEX.',
    });
  }
  if (kind === 'user' && !spec.forwardSsh && needs('ssh')) {
    throw new CowherdError('BAD_USAGE', 'Members with user networking cannot be reached by ssh without a forwarded port', {
      hint: 'Add --forward-ssh to forward a port of 127.0.0.1 to each member, or wait for agent.',
    });
  }
}

/** Must be called before members are started. */
export async function beginWait(
  ports: Pick<Ports, 'networks'>,
  record: FleetRecord,
  wait: WaitFor | undefined,
): Promise<Watch | undefined> {
  if (wait === undefined || wait.stages.every((stage) => stage === 'running')) return undefined;
  const { kind, source } = parseNetwork(record.spec.network);
  const leases = kind === 'network' && wait.stages.includes('address') ? await ports.networks.leases(source) : [];
  return { record, wait, leases: new Map(leases.map(({ mac, expires }) => [mac, expires])) };
}

/** Waits for all members that were started by a run or were running before it. */
export async function waitAfter(
  ports: Ports,
  watch: Watch | undefined,
  { plan, run, before }: { plan: Plan; run: RunResult; before: ReadonlyMap<string, ObservedMember> },
  options: WorkOptions & { timeoutMs?: number | undefined },
): Promise<Waiting> {
  if (watch === undefined || isAborted(options.signal)) return notWaited;
  options.onWaiting?.();
  const began = ports.clock.monotonic();
  const started = new Set(
    plan.members.filter((member) => member.steps.some((step) => step === 'start' || step === 'restore')).map((member) => member.name),
  );
  const restored = new Set(plan.members.filter((member) => member.steps.includes('restoreCheckpoint')).map((member) => member.name));
  const isRunning = (name: string): boolean => started.has(name) || restored.has(name) || isOn(before.get(name)?.domain);
  const done = run.results.filter(({ kind }) => kind === 'done').map(({ member }) => member.name);
  const running = new Set([...plan.unchanged, ...done].filter(isRunning));
  const members = watch.record.members.filter((member) => running.has(member.name));
  const late = await waitForReadiness(ports, watch, members, started, options.timeoutMs ?? defaultWaitMs, options);
  if (isAborted(options.signal)) return notWaited;
  const seconds = Math.round(ports.clock.monotonic() - began) / 1000;
  return { late, stages: [{ name: 'wait', seconds, count: members.length - late.size }] };
}

/**
 * @param started names of members that were started after the watch began: their earlier leases do not count
 * @returns the stage and reason of each member that did not become ready
 */
export async function waitForReadiness(
  ports: Ports,
  watch: Watch,
  members: readonly MemberIdentity[],
  started: ReadonlySet<string>,
  timeoutMs: number,
  { signal, onProgress }: WorkOptions,
): Promise<Map<string, Late>> {
  const deadline = ports.clock.monotonic() + timeoutMs;
  const endpoints = new Endpoints(ports, watch.record);
  const probes = pLimit(probeConcurrency);
  const stuck: Stuck[] = [];
  const queue = new WaitingList(watch.wait.stages, members, onProgress);
  await Promise.all(
    members.map(async (member) => {
      const probe = new ReadinessProbe(ports, watch, endpoints, probes, member, started.has(member.name));
      for (const stage of watch.wait.stages) {
        queue.moveTo(stage, member);
        const lack = await reach(ports, probe, stage, deadline, signal);
        if (lack === undefined) continue;
        stuck.push({ member, probe, stage, ...lack });
        if (!isAborted(signal)) queue.giveUp();
        return;
      }
      queue.release(member);
    }),
  );
  if (stuck.length === 0 || isAborted(signal)) return new Map();
  // A member that stopped will never be ready, but no stage detects that.
  const domains = new Map((await ports.hypervisor.listDomains().catch(() => [])).map((domain) => [domain.name, domain]));
  const late = await Promise.all(
    stuck.map(async (one): Promise<[string, Late]> => [one.member.name, await explain(one, domains.get(one.member.name), timeoutMs)]),
  );
  return new Map(late);
}

/** Reports the members that wait for each stage. */
class WaitingList {
  readonly #pending: Map<ReadyStage, Set<string>>;
  readonly #total: number;
  #done = 0;
  #failed = 0;

  constructor(
    wanted: readonly ReadyStage[],
    members: readonly MemberIdentity[],
    private readonly onProgress: ProgressListener | undefined,
  ) {
    this.#pending = new Map(wanted.map((stage) => [stage, new Set()]));
    this.#total = members.length;
    this.#tell();
  }

  moveTo(stage: ReadyStage, { name }: MemberIdentity): void {
    this.#remove(name);
    this.#pending.get(stage)?.add(name);
    this.#tell();
  }

  /** The member stays in the list at its stage. */
  giveUp(): void {
    this.#failed++;
    this.#tell();
  }

  release({ name }: MemberIdentity): void {
    this.#remove(name);
    this.#done++;
    this.#tell();
  }

  #remove(name: string): void {
    for (const names of this.#pending.values()) names.delete(name);
  }

  #tell(): void {
    const [done, total, failed, pending] = [this.#done, this.#total, this.#failed, this.#pending];
    this.onProgress?.({ kind: 'stage', stage: 'wait', done, total, failed, pending });
  }
}

async function explain(
  { member: { name }, probe, stage, why, final }: Stuck,
  domain: DomainState | undefined,
  timeoutMs: number,
): Promise<Late> {
  if (final !== undefined) return { stage, error: final };
  const line = await probe.lastLine();
  const fleet = name.replace(/-\d+$/, '');
  const isOff = domain !== undefined && !isOn(domain);
  return {
    stage,
    error: new CowherdError(
      'NOT_READY',
      `${name} did not reach stage ${stage} within ${formatDuration(timeoutMs)}: ${isOff ? `it is stopped (${domain.reason})` : why}`,
      {
        details: [line === undefined ? 'its console is empty' : `last line of its console: ${line}`],
        hint: `Allow more time with --timeout, or see its output: cowherd logs ${name}, cowherd status ${fleet}`,
      },
    ),
  };
}

interface Lack {
  why: string;
  /** The stage can never be reached. */
  final?: CowherdError;
}

interface Stuck extends Lack {
  member: MemberIdentity;
  probe: ReadinessProbe;
  stage: ReadyStage;
}

/** @returns undefined once the stage is reached */
async function reach(
  { clock }: Pick<Ports, 'clock'>,
  probe: ReadinessProbe,
  stage: ReadyStage,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<Lack | undefined> {
  for (let wait = pause.first; ; wait = Math.min(pause.most, wait * pause.growth)) {
    let why: string;
    try {
      const seen = await probe.look(stage, Math.max(1, deadline - clock.monotonic()), signal);
      if (seen.done) return undefined;
      why = seen.why;
    } catch (error) {
      if (error instanceof CowherdError && error.code === 'NOT_READY') return { why: error.message, final: error };
      why = reportOf(error).message;
    }
    const left = deadline - clock.monotonic();
    if (left <= 0 || isAborted(signal)) return { why };
    await clock.sleep(Math.min(left, stage === 'console' ? consolePauseMs : wait), signal);
  }
}
