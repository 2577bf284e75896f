import type { BaseImage } from '../core/base.js';
import type { MemberDefinition } from '../core/domain-xml.js';
import { CowherdError } from '../core/errors.js';
import type { FleetRecord } from '../core/fleet.js';
import { verifyName } from '../core/names.js';
import type { Operation, StageTime } from '../core/operation.js';
import type { Outcome } from '../core/outcome.js';
import { isForeign, type MarkedMember, type Plan, planSpawn } from '../core/plan.js';
import { formatIndexes } from '../core/selection.js';
import type { DomainSpec } from '../core/spec.js';
import type { Ports } from '../ports.js';
import { byName, memberOf, newOperation, offNames } from './change.js';
import { checkDisk, checkMemory, checkNetwork, checkStore, verifyChecks } from './checks.js';
import { choosePlatform, loadTemplate, renderDefinitions, type TemplateSource } from './definitions.js';
import { isAborted, isComplete, type RunResult, runMembers } from './engine.js';
import {
  defaultBootConcurrency,
  defaultConcurrency,
  observeWithMarks,
  verifiedBase,
  verifyNothingUnfinished,
  type WorkOptions,
  withFleetLock,
} from './fleet-access.js';
import { composeOutcome } from './outcome.js';
import { type WaitFor, waitForConsoles } from './readiness.js';
import { composeRecord, resolveBase, verifyCount } from './spawn-inputs.js';
import { stagePlannedOverlays, stepPerformer } from './steps.js';

export interface SpawnOptions extends WorkOptions {
  fleet: string;
  /** A file, or the name of a base image in the store. May be left out for a fleet that exists. */
  base?: string | undefined;
  format?: 'qcow2' | 'raw' | undefined;
  trustChain?: boolean | undefined;
  /** May be left out for a fleet that exists. */
  count?: number | undefined;
  /** What is left out stays as recorded, or is the default for a new fleet. */
  spec?: Partial<Omit<DomainSpec, 'template'>> | undefined;
  /** Path of a domain template. */
  template?: string | undefined;
  /** Whether what is off is started; true when left out. */
  start?: boolean | undefined;
  wait?: WaitFor | undefined;
  timeoutMs?: number | undefined;
  dryRun?: boolean | undefined;
  force?: boolean | undefined;
}

export const defaultWaitMs = 300_000;

/** Makes the world be as the spec says: imports the base, creates what is missing, starts what is off. Running it again converges. */
export async function spawn(ports: Ports, options: SpawnOptions): Promise<Outcome> {
  verifyName('fleet', options.fleet);
  if (options.dryRun === true) return spawnLocked(ports, options);
  // Before the lock, which is a file of the store.
  verifyChecks(await checkStore(ports), options.force === true);
  return withFleetLock(ports, options.fleet, () => spawnLocked(ports, options));
}

async function spawnLocked(ports: Ports, options: SpawnOptions): Promise<Outcome> {
  const { fleet } = options;
  const began = ports.clock.monotonic();
  await verifyNothingUnfinished(ports, fleet, ({ operation }) => operation.verb === 'spawn');
  // What an interrupted spawn meant to make counts as recorded: its members may be there already.
  const recorded = (await ports.fleets.unfinished(fleet))?.operation.record ?? (await ports.fleets.read(fleet));
  verifyCount(fleet, recorded, options.count);

  const early = options.dryRun === true ? [] : verifyChecks(await checkDisk(ports), options.force === true);
  const { base, notes } = await resolveBase(ports, options, recorded);
  const importSeconds = (ports.clock.monotonic() - began) / 1000;
  const template = await loadTemplate(ports, recorded, options.template);
  const record = await composeRecord(ports, options, recorded, base, template);
  return applySpawn(ports, options, { record, base, template, began, importSeconds, notes: [...notes, ...early] });
}

interface Waiting {
  late: ReadonlyMap<string, CowherdError>;
  stages: StageTime[];
}

interface SpawnContext {
  record: FleetRecord;
  base: BaseImage;
  template: TemplateSource;
  began: number;
  importSeconds: number;
  notes: string[];
}

async function applySpawn(ports: Ports, options: SpawnOptions, context: SpawnContext): Promise<Outcome> {
  const { base, template } = context;
  let { record } = context;
  const platform = await choosePlatform(ports, record.spec.virtType, options.onProgress);
  const definitions = renderDefinitions(ports, record, record.members, base, platform, template);
  const observed = await observeWithMarks(ports, record);
  verifyNoForeign(record, observed);
  const subjects = observed.map((member) => ({ ...member, definition: definitions.get(member.name)?.definition ?? '' }));
  const plan = withoutStarts(planSpawn(subjects, record.id), options.start !== false);
  const operation = newOperation(ports, 'spawn', {
    targets: plan.members.map((member) => member.index),
    start: options.start === false ? 'none' : 'all',
    record,
    wholeFleet: true,
  });
  const starting = plan.members.filter((member) => member.steps.includes('start')).length;
  const creating = plan.members.filter((member) => member.steps.includes('overlay')).length;
  const demand = { starting, creating, memoryMiB: record.spec.memoryMiB, virtualBytes: base.virtualBytes };
  const checks = [await checkMemory(ports, demand), ...(await checkDisk(ports, demand)), await checkNetwork(ports, record.spec.network)];
  const before = byName(observed);
  const compose = (run: RunResult, notes: string[], waiting: Waiting = { late: new Map(), stages: [] }): Outcome =>
    composeOutcome({
      verb: 'spawn',
      id: operation.id,
      record,
      plan,
      run: {
        ...run,
        stages: [{ name: 'import', seconds: Math.round(context.importSeconds * 1000) / 1000, count: 1 }, ...run.stages, ...waiting.stages],
      },
      late: waiting.late,
      before,
      seconds: (ports.clock.monotonic() - context.began) / 1000,
      interrupted: isAborted(options.signal),
      doneAs: (name, steps) => {
        if (before.get(name)?.domain === undefined || steps.includes('overlay')) return 'created';
        return steps.includes('define') ? 'redefined' : 'started';
      },
      notes,
    });

  if (options.dryRun === true) {
    const notes = checks.filter((check) => check.status !== 'ok').map(({ name, message }) => `${name}: ${message}`);
    return { ...compose({ results: [], stages: [] }, [...context.notes, ...notes]), plan };
  }
  const notes = [...context.notes, ...verifyChecks(checks, options.force === true)];
  const redefined = plan.members.filter((member) => member.atNextStart).map((member) => member.index);
  if (redefined.length > 0) notes.push(`members ${formatIndexes(redefined)} keep their old definition until their next start`);

  // From here on the world changes.
  const performed = await prepare(ports, { record, operation, plan, definitions, base, template, before });
  record = performed.record;
  const performer = stepPerformer(ports, { fleet: record.name, definitions, off: offNames(before), journaled: true });
  const run = await runMembers(
    plan.members.map(({ name, steps }) => ({
      member: memberOf(before, name),
      steps: name === performed.defined ? steps.filter((step) => step !== 'define') : steps,
    })),
    performer,
    {
      concurrency: options.concurrency ?? defaultConcurrency,
      bootConcurrency: options.bootConcurrency ?? defaultBootConcurrency,
      clock: ports.clock,
      signal: options.signal,
      onProgress: options.onProgress,
    },
  );
  if (isComplete(run)) await ports.fleets.endOperation(record.name);
  return compose(run, notes, await awaitReadiness(ports, options, plan, run, before));
}

/** Waits for all that should run now. @returns who is late, and how long it took */
async function awaitReadiness(
  ports: Ports,
  options: SpawnOptions,
  plan: Plan,
  run: RunResult,
  before: ReadonlyMap<string, MarkedMember>,
): Promise<Waiting> {
  const { wait } = options;
  if (wait?.stage !== 'console' || isAborted(options.signal)) return { late: new Map(), stages: [] };
  const began = ports.clock.monotonic();
  const started = new Set(plan.members.filter((member) => member.steps.includes('start')).map((member) => member.name));
  const done = run.results.filter((result) => result.kind === 'done').map((result) => result.member.name);
  const running = [...done.filter((name) => started.has(name)), ...plan.unchanged].map((name) => memberOf(before, name));
  const late = await waitForConsoles(ports, options.fleet, running, wait.pattern, options.timeoutMs ?? defaultWaitMs, options);
  const seconds = Math.round(ports.clock.monotonic() - began) / 1000;
  return { late: isAborted(options.signal) ? new Map() : late, stages: [{ name: 'wait', seconds, count: running.length - late.size }] };
}

interface Preparation {
  record: FleetRecord;
  operation: Operation;
  plan: Plan;
  definitions: ReadonlyMap<string, MemberDefinition>;
  base: BaseImage;
  template: TemplateSource;
  before: ReadonlyMap<string, MarkedMember>;
}

/**
 * Writes the intent and makes ready what the members need. The first domain is defined here, held against libvirt's schema: a
 * template that libvirt does not take is refused before any member is made. Whatever fails here is taken back.
 */
async function prepare(ports: Ports, work: Preparation): Promise<{ record: FleetRecord; defined: string | undefined }> {
  const { operation, plan, definitions, base, template, before } = work;
  const { fleets, hypervisor } = ports;
  const fleet = work.record.name;
  const earlier = { record: await fleets.read(fleet), unfinished: await fleets.unfinished(fleet) };
  // Before the intent, which refers to it by its digest.
  if (template.digest !== undefined) await fleets.writeTemplate(fleet, template.digest, template.text);
  // The base is bound to the fleet while nobody can remove it: from here on it counts as in use.
  await ports.bases.locked(async () => {
    await verifiedBase(ports, work.record.base);
    await fleets.beginOperation(fleet, operation);
  });
  const first = plan.members.find((member) => member.steps.includes('define'))?.name;
  try {
    const freshOverlay = await ports.images.freshOverlay(base, await fleets.scratchPath(fleet));
    const known = earlier.record?.freshOverlayBytes ?? 0;
    const record = { ...work.record, freshOverlayBytes: known > 0 ? known : await fleets.measureOverlay(fleet, freshOverlay) };
    await stagePlannedOverlays(ports, fleet, plan, freshOverlay);
    await fleets.write(record);
    const xml = first === undefined ? undefined : definitions.get(first)?.xml;
    if (first !== undefined && xml !== undefined) await hypervisor.define({ name: first, xml }, { validate: true });
    return { record, defined: first };
  } catch (error) {
    const isNew = first !== undefined && before.get(first)?.domain === undefined;
    if (isNew && (await hypervisor.readMarks([first]).catch(() => undefined))?.get(first)?.fleetId === work.record.id)
      await hypervisor.undefine(first);
    // An operation that was unfinished before stays so: its intent is all that is known of it.
    if (earlier.unfinished !== undefined) throw error;
    if (earlier.record === undefined) {
      await fleets.removeFleet(fleet);
    } else {
      await fleets.write(earlier.record);
      await fleets.endOperation(fleet);
    }
    throw error;
  }
}

function verifyNoForeign(record: FleetRecord, observed: readonly MarkedMember[]): void {
  const foreign = observed.filter((member) => isForeign(member, record.id));
  const first = foreign[0];
  if (first === undefined) return;
  throw new CowherdError('FOREIGN_DOMAIN', `A domain named ${first.name} exists that is not of fleet ${record.name}; nothing was changed`, {
    details: foreign.slice(1, 10).map((member) => `also ${member.name}`),
    hint: `Choose another fleet name, or rename that domain: virsh domrename ${first.name} NEW`,
  });
}

function withoutStarts(plan: Plan, start: boolean): Plan {
  if (start) return plan;
  const members = plan.members.map((member) => ({ ...member, steps: member.steps.filter((step) => step !== 'start') }));
  return {
    ...plan,
    members: members.filter((member) => member.steps.length > 0),
    unchanged: [...plan.unchanged, ...members.filter((member) => member.steps.length === 0).map((member) => member.name)],
  };
}
