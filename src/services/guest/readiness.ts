import pLimit from 'p-limit';
import { CowherdError } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { isOn, type ObservedMember } from '../../core/fleet/observation.js';
import type { StageTime } from '../../core/fleet/operation.js';
import type { Plan } from '../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { isAutoWait, type ReadyStage, resolveWait, type WaitFor, type WaitRequest } from '../../core/guest/stages.js';
import { formatBaseRef } from '../../core/image/base.js';
import { parseNetwork } from '../../core/spec/flag-values.js';
import type { DomainSpec } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';
import type { WorkOptions } from '../fleet/access.js';
import { isAborted, type RunResult } from '../run/member-executor.js';
import { Endpoints } from './endpoints.js';
import { ReadinessProbe, type Watch } from './readiness-probe.js';
import { type Late, waitForStages } from './stage-wait.js';

/**
 * Waits until guests are ready, stage by stage: all members at once with one deadline. A member that is stuck does not affect the others.
 */

export const defaultWaitMs = 300_000;

/** Concurrent connection attempts to guests. */
const probeConcurrency = 32;

export interface Waiting {
  /** Members that are not ready, by name. */
  late: ReadonlyMap<string, Late>;
  stages: StageTime[];
}

export const notWaited: Waiting = { late: new Map(), stages: [] };

/** The stages to wait for in a fleet. @throws BAD_USAGE if its members can never reach them, or its base image names none */
export async function waitOf(
  ports: Pick<Ports, 'bases'>,
  { base, spec }: Pick<FleetRecord, 'base' | 'spec'>,
  wait: WaitRequest | undefined,
): Promise<WaitFor | undefined> {
  const stage = isAutoWait(wait) ? (await ports.bases.get(base))?.defaults?.wait : undefined;
  const resolved = resolveWait(wait, formatBaseRef(base), stage);
  assertWaitable(spec, resolved);
  return resolved;
}

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
  work: WorkOptions,
): Promise<Map<string, Late>> {
  const endpoints = new Endpoints(ports, watch.record);
  const probes = pLimit(probeConcurrency);
  return waitForStages(
    ports,
    {
      stages: watch.wait.stages,
      members,
      probeOf: (member) => new ReadinessProbe(ports, watch, endpoints, probes, member, started.has(member.name)),
      stopped: async () => {
        const off = (await ports.hypervisor.listDomains()).filter((domain) => !isOn(domain));
        return new Map(off.map(({ name, reason }) => [name, reason]));
      },
    },
    timeoutMs,
    work,
  );
}
