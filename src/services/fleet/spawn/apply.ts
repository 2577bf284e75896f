import type { Outcome } from '../../../core/fleet/outcome.js';
import { formatIndexes } from '../../../core/fleet/selection/selection.js';
import type { Ports } from '../../../ports/index.js';
import { withoutStrays } from '../../checkpoint/strays.js';
import { Cloner } from '../../clone/restore.js';
import { beginWait, notWaited, type Waiting, waitAfter } from '../../guest/readiness.js';
import { chooseAgain, failedStarts, stoppingAtRefusal } from '../../host/accelerator.js';
import { assertChecks, checkStore } from '../../preflight/checks.js';
import { foresee, withForeseen } from '../../run/dry-run/refusal.js';
import { isAborted, isComplete, type RunResult, runMembers } from '../../run/member-executor.js';
import { composeOutcome } from '../../run/outcome.js';
import { byName, memberOf, offNames } from '../../run/run-plan.js';
import { stepPerformer } from '../../run/steps.js';
import { defaultBootConcurrency, defaultConcurrency } from '../access.js';
import { nvramOf } from '../disks/fresh-disks.js';
import { planAttempt, type SpawnAttempt } from './attempt.js';
import { Contention } from './contention.js';
import type { SpawnContext } from './context.js';
import type { ReadySpawnOptions } from './input/options.js';
import { growthNotes } from './input/root-size.js';
import { lackingDisks } from './plan.js';
import { prepareSpawn } from './prepare.js';
import { withReservations } from './reservations.js';

/** Applies a spawn once the target record is known. */

/** Retries with another accelerator or CPU if members did not start with the chosen one: at most three attempts. Retries with other addresses if another run took them.
 */
export async function applySpawn(ports: Ports, options: ReadySpawnOptions, context: SpawnContext): Promise<Outcome> {
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
  options: ReadySpawnOptions,
  context: SpawnContext & { contention: Contention },
): Promise<{ outcome: Outcome } | { next: SpawnContext }> {
  const attempt = await planAttempt(ports, options, context, context.contention.from);
  const { record, observed, accelerator, plan, definitions, checks } = attempt;
  const before = byName(observed);
  if (options.dryRun === true) {
    const foreseen = foresee([...(await checkStore(ports)), ...checks], options.force === true);
    const outcome = outcomeOf(ports, options, context, attempt, { results: [], stages: [] }, [...context.notes, ...attempt.notes]);
    return { outcome: withForeseen({ ...outcome, plan }, foreseen) };
  }
  const notes = [
    ...context.notes,
    ...attempt.notes,
    ...assertChecks(checks, options.force === true),
    ...growthNotes(plan, record.spec, await ports.checkpoints.list(record.name)),
  ];
  const redefined = plan.members.filter((member) => member.atNextStart).map((member) => member.index);
  if (redefined.length > 0) notes.push(`members ${formatIndexes(redefined)} change at their next start`);

  const watch = await beginWait(ports, record, options.wait);
  const cloner = await Cloner.open(ports, record, plan, definitions, options);
  const run = await runAttempt(ports, options, context, attempt, cloner);
  const [failed] = failedStarts(run);
  if (failed !== undefined && context.isLast !== true && !isAborted(options.signal)) {
    const again = await chooseAgain(ports, record, accelerator, failed, options);
    // The intent stays until the next attempt replaces it: both lead to the requested fleet.
    const next = { ...context, recorded: record, record, before: context.before ?? before, notes: [...context.notes, ...attempt.notes] };
    if (again !== undefined) {
      options.onProgress?.({ kind: 'note', text: again.note });
      return { next: { ...next, record: { ...record, accelerator: again.choice }, notes: [...next.notes, again.note] } };
    }
    if (!isComplete(run) && !isAborted(options.signal)) return { next: { ...next, isLast: true } };
  }
  if (isComplete(run)) await ports.fleets.endOperation(record.name);
  notes.push(...(cloner?.notes ?? []));
  const waiting = await waitAfter(ports, watch, { plan, run, before }, options);
  return { outcome: outcomeOf(ports, options, context, attempt, run, notes, waiting) };
}

/** Writes the intent and runs the steps: the first change. */
async function runAttempt(
  ports: Ports,
  options: ReadySpawnOptions,
  context: SpawnContext & { contention: Contention },
  attempt: SpawnAttempt,
  cloner: Cloner | undefined,
): Promise<RunResult> {
  const { record, observed, accelerator, plan, operation, definitions, seeds, secrets } = attempt;
  const { nvram, template, seedSources, contention } = context;
  const before = byName(observed);
  const disks = new Map(observed.map((member) => [member.name, lackingDisks(record, member)]));
  const { first: defined, reserving } = await prepareSpawn(
    ports,
    { record, operation, plan, definitions, disks, nvram, template, before, seedSources, seeds, secrets, ...contention.preparing() },
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
  return run;
}

function outcomeOf(
  ports: Pick<Ports, 'clock'>,
  options: ReadySpawnOptions,
  context: SpawnContext,
  { record, plan, operation, observed }: SpawnAttempt,
  run: RunResult,
  notes: string[],
  waiting: Waiting = notWaited,
): Outcome {
  const before = byName(observed);
  const imported = { name: 'import' as const, seconds: Math.round(context.importSeconds * 1000) / 1000, count: 1 };
  return composeOutcome({
    verb: 'spawn',
    id: operation.id,
    record,
    plan,
    run: { ...run, stages: [imported, ...run.stages, ...waiting.stages] },
    late: waiting.late,
    before,
    seconds: (ports.clock.monotonic() - context.began) / 1000,
    interrupted: isAborted(options.signal),
    doneAs: (name, steps) => {
      const first = (context.before ?? before).get(name);
      if (first?.domain === undefined || first.overlayBytes === undefined) return 'created';
      if (steps.includes('define') || steps.includes('grow')) return 'redefined';
      return steps.includes('start') || steps.includes('restore') ? 'started' : 'unchanged';
    },
    notes,
  });
}
