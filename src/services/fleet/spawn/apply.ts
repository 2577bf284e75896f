import { randomUUID } from 'node:crypto';
import type { MarkedMember } from '../../../core/fleet/member-plan.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import { planSpawn } from '../../../core/fleet/plan-spawn.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { formatIndexes } from '../../../core/fleet/selection.js';
import type { SeedSources } from '../../../core/guest/seed.js';
import type { Ports } from '../../../ports/index.js';
import { withChains } from '../../base/chains.js';
import { withoutStrays } from '../../checkpoint/strays.js';
import { verifiedWarmBase, withClones } from '../../clone/plan.js';
import { Cloner, discardHalfMade } from '../../clone/restore.js';
import { beginWait, notWaited, type Waiting, waitAfter } from '../../guest/readiness.js';
import { composeSecrets, instanceIds, renderSeeds, seedLack } from '../../guest/seeds.js';
import { chooseAgain, chooseOrReplace, failedStarts, stoppingAtRefusal } from '../../host/accelerator.js';
import { assertChecks, checkDisk, checkMachine, checkMemory, checkNetwork, checkReach, checkStore } from '../../preflight/checks.js';
import { baseTargets } from '../../preflight/reachability.js';
import { foresee, withForeseen } from '../../run/dry-run/refusal.js';
import { isAborted, isComplete, type RunResult, runMembers } from '../../run/member-executor.js';
import { composeOutcome } from '../../run/outcome.js';
import { byName, memberOf, newOperation, offNames } from '../../run/run-plan.js';
import { stepPerformer } from '../../run/steps.js';
import { defaultBootConcurrency, defaultConcurrency, observeWithMarks } from '../access.js';
import { refuseMisplaced } from '../reset/backing-check.js';
import { refuseForeignDisks } from '../reset/foreign-disks.js';
import { nvramOf, verifiedBases, virtualBytesOf } from '../reset/fresh-disks.js';
import { withoutAdditions } from './additions.js';
import { allocateAddresses } from './addresses.js';
import { Contention } from './contention.js';
import { renderDefinitions, type TemplateSource } from './definitions.js';
import { describeChanges, earlierDefinitions, lackingDisks, restricted } from './plan.js';
import { prepareSpawn } from './prepare.js';
import { withReservations } from './reservations.js';
import { growthNotes, withGrowth } from './root-size.js';
import type { SpawnOptions } from './spawn.js';
import { assertNetworkMayChange, assertNoForeign } from './verify.js';

/** What a spawn does once it is known what the fleet is to be. */

export interface SpawnContext {
  /** As it was, or as an interrupted spawn meant it to be. */
  recorded: FleetRecord | undefined;
  record: FleetRecord;
  /** The NVRAM of the golden image, where it came with this run. */
  nvram: Buffer | undefined;
  template: TemplateSource;
  seedSources: SeedSources;
  began: number;
  importSeconds: number;
  notes: string[];
  /** Members as they were before the first attempt. */
  before?: ReadonlyMap<string, MarkedMember>;
  /** Nothing else is left to try: every member is carried through, well or badly. */
  isLast?: boolean;
}

/**
 * Tries again with another accelerator or CPU where members did not start for want of it: the best that works is found in three attempts.
 * Tries again with other addresses where another run was faster.
 */
export async function applySpawn(ports: Ports, options: SpawnOptions, context: SpawnContext): Promise<Outcome> {
  let contention = await Contention.of(ports, options.fleet);
  for (let attempt = context; ; ) {
    try {
      const result = await attemptSpawn(ports, options, { ...attempt, contention });
      if ('outcome' in result) return result.outcome;
      attempt = result.next;
      contention = await Contention.of(ports, options.fleet);
    } catch (error) {
      if (!contention.isMet(error) || isAborted(options.signal)) {
        await contention.takeBack(ports, attempt.record);
        throw error;
      }
    }
  }
}

async function attemptSpawn(
  ports: Ports,
  options: SpawnOptions,
  context: SpawnContext & { contention: Contention },
): Promise<{ outcome: Outcome } | { next: SpawnContext }> {
  const { template, seedSources } = context;
  const imageOf = await verifiedBases(ports, context.record);
  const { platform, accelerator, notes: platformNotes } = await chooseOrReplace(ports, context.record, options);
  await verifiedWarmBase(ports, context.record);
  const unfinished = options.dryRun === true ? undefined : await ports.fleets.unfinished(options.fleet);
  if (unfinished !== undefined) await discardHalfMade(ports, context.record, unfinished);
  const observed = await observeWithMarks(ports, context.record);
  assertNoForeign(context.record, observed);
  assertNetworkMayChange(context.recorded, context.record, observed);
  const off = new Set(observed.filter(({ domain }) => !isOn(domain)).map(({ name }) => name));
  const allocation = await allocateAddresses(ports, context.record, off, context.contention.from);
  const record: FleetRecord = { ...allocation.record, ...(accelerator === undefined ? {} : { accelerator }) };
  const rendered = await renderDefinitions(ports, record, record.members, imageOf, platform, template, options.signal);

  const id = randomUUID();
  const secrets = await composeSecrets(ports, record, options.secrets, context.recorded?.spec.seed !== 'nocloud');
  const placed = await ports.seeds.observe(record.name);
  const isNew = new Set(observed.filter(({ overlayBytes }) => overlayBytes === undefined).map(({ name }) => name));
  const seeded = record.spec.seed === 'nocloud' ? record.members : [];
  const instanceOf = instanceIds(placed, id, (member) => isNew.has(member.name));
  const seeds = await renderSeeds(record, seeded, seedSources, secrets, instanceOf, options.signal);

  const changesOf = describeChanges(context.recorded, record);
  const subjects = observed.map((member) => ({
    ...member,
    definition: rendered.get(member.name)?.definition ?? '',
    changes: changesOf(member.mark),
    seedLack: seedLack(seeds.get(member.name), placed.get(member.name)),
  }));
  const wanted = restricted(planSpawn(subjects, record.id), options);
  const standing = await refuseMisplaced(ports, record, observed, wanted);
  // Those that are defined anew get their own disks by that.
  const own = await refuseForeignDisks(
    ports,
    record,
    observed,
    standing,
    ({ steps }) => steps.includes('start') && !steps.includes('define'),
  );
  const chained = await withChains(ports, record, record.members, withClones(own, observed, record), imageOf, rendered);
  const earlier = await earlierDefinitions(ports, context, chained.plan, imageOf, platform, options.signal);
  const kept = await withoutAdditions(ports, record, observed, chained.plan, chained.definitions, earlier, options.signal);
  const { definitions } = kept;
  const plan = options.redefine === undefined ? await withGrowth(ports, record, observed, kept.plan) : kept.plan;
  const clones = plan.members.filter(({ steps }) => steps.includes('restore')).length;
  const operation = newOperation(ports, 'spawn', {
    id,
    targets: plan.members.map((member) => member.index),
    start: options.redefine !== undefined ? 'same' : options.start === false ? 'none' : 'all',
    wasOn: [...(options.redefine?.starting ?? [])],
    record,
    wholeFleet: true,
  });
  const starting = clones + plan.members.filter((member) => member.steps.includes('start')).length;
  const creating = plan.members.filter((member) => member.steps.includes('overlay')).length;
  const demand = { starting, creating, memoryMiB: record.spec.memoryMiB, virtualBytes: virtualBytesOf(record, imageOf) };
  const checks = [
    await checkMemory(ports, demand),
    ...(await checkDisk(ports, demand)),
    await checkNetwork(ports, record.spec.network),
    ...checkMachine(record.spec, platform),
    await checkReach(ports, baseTargets(record, imageOf)),
    ...(allocation.check === undefined ? [] : [allocation.check]),
  ];
  const before = byName(observed);
  const compose = (run: RunResult, notes: string[], waiting: Waiting = notWaited): Outcome =>
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
        const first = (context.before ?? before).get(name);
        if (first?.domain === undefined || first.overlayBytes === undefined) return 'created';
        return steps.includes('define') || steps.includes('grow')
          ? 'redefined'
          : steps.includes('start') || steps.includes('restore')
            ? 'started'
            : 'unchanged';
      },
      notes,
    });

  if (options.dryRun === true) {
    const foreseen = foresee([...(await checkStore(ports)), ...checks], options.force === true);
    return { outcome: withForeseen({ ...compose({ results: [], stages: [] }, [...context.notes, ...platformNotes]), plan }, foreseen) };
  }
  const notes = [
    ...context.notes,
    ...platformNotes,
    ...assertChecks(checks, options.force === true),
    ...growthNotes(plan, record.spec, await ports.checkpoints.list(record.name)),
  ];
  const redefined = plan.members.filter((member) => member.atNextStart).map((member) => member.index);
  if (redefined.length > 0) notes.push(`members ${formatIndexes(redefined)} stay as they are until their next start`);

  const watch = await beginWait(ports, record, options.wait);
  const cloner = await Cloner.open(ports, record, plan, definitions, options);

  // From here on the world changes.
  const disks = new Map(observed.map((member) => [member.name, lackingDisks(record, member)]));
  const { nvram } = context;
  const { first: defined, reserving } = await prepareSpawn(
    ports,
    {
      record,
      operation,
      plan,
      definitions,
      disks,
      nvram,
      template,
      before,
      seedSources,
      seeds,
      secrets,
      ...context.contention.preparing(),
    },
    options,
  );
  const steps = stepPerformer(ports, {
    fleet: record.name,
    definitions,
    disks,
    ...nvramOf(record),
    rootBytes: record.spec.rootBytes,
    off: offNames(before),
    isOfClones: record.spec.warm !== undefined,
    beforeStart: withoutStrays(ports, record, offNames(before)),
    ...(cloner === undefined ? {} : { perform: { restore: cloner.clone } }),
    journaled: true,
  });
  const performer = withReservations(steps, reserving);
  await ports.memory.endFreeze(record.name);
  const refusal = new AbortController();
  const run = await runMembers(
    plan.members.map(({ name, steps }) => ({
      member: memberOf(before, name),
      steps: name === defined ? steps.filter((step) => step !== 'define') : steps,
      earlier: name === defined ? ['define'] : [],
    })),
    accelerator?.virtType === 'kvm' && context.isLast !== true ? stoppingAtRefusal(performer, refusal) : performer,
    {
      concurrency: options.concurrency ?? defaultConcurrency,
      bootConcurrency: options.bootConcurrency ?? defaultBootConcurrency,
      clock: ports.clock,
      signal: options.signal === undefined ? refusal.signal : AbortSignal.any([options.signal, refusal.signal]),
      onProgress: options.onProgress,
    },
  );
  await cloner?.close();
  await (isComplete(run) ? reserving.all(new Set(plan.members.map(({ name }) => name))) : reserving.stop());
  const [failed] = failedStarts(run);
  if (failed !== undefined && context.isLast !== true && !isAborted(options.signal)) {
    const again = await chooseAgain(ports, record, accelerator, failed, options);
    // The intent stays until the next attempt writes its own: both lead to the fleet that was asked for.
    const next = { ...context, recorded: record, record, before: context.before ?? before, notes: [...context.notes, ...platformNotes] };
    if (again !== undefined) {
      options.onProgress?.({ kind: 'note', text: again.note });
      return { next: { ...next, record: { ...record, accelerator: again.choice }, notes: [...next.notes, again.note] } };
    }
    if (!isComplete(run) && !isAborted(options.signal)) return { next: { ...next, isLast: true } };
  }
  if (isComplete(run)) await ports.fleets.endOperation(record.name);
  notes.push(...(cloner?.notes ?? []));
  return { outcome: compose(run, notes, await waitAfter(ports, watch, { plan, run, before }, options)) };
}
