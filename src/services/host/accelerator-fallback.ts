import type { MemberOutcome, MemberOutcomeKind, Outcome } from '../../core/fleet/outcome.js';
import type { Ports } from '../../ports/index.js';
import { loadFleet, type WorkOptions } from '../fleet/access.js';
import type { SpawnOptions } from '../fleet/spawn/input/options.js';
import { spawnLocked } from '../fleet/spawn/spawn.js';
import { chooseAgain, definedChoice } from './accelerator.js';

/** Whether a member did not start because of the accelerator or the CPU. */
function isRefused({ step, error }: MemberOutcome): boolean {
  return step === 'start' && error?.code === 'ACCELERATOR_FAILED';
}

/** Starts members that did not start because of the accelerator or the CPU with one that works, and redefines all members of the fleet with it. A journaled spawn does it, so that resume can complete it. The fleet is locked and has no unfinished operation.
 * @returns the verb's outcome, updated for those members
 */
export async function startOtherwise(
  ports: Ports,
  outcome: Outcome,
  options: WorkOptions & Pick<SpawnOptions, 'fleet' | 'wait' | 'timeoutMs' | 'force'>,
): Promise<Outcome> {
  const refused = outcome.members.filter(isRefused);
  const [first] = refused;
  if (first?.error === undefined || outcome.operation.interrupted) return outcome;
  // Do not replace the intent of an unfinished operation.
  if ((await ports.fleets.unfinished(options.fleet)) !== undefined) return outcome;
  const began = ports.clock.monotonic();
  const record = await loadFleet(ports, options.fleet);
  const failed = await definedChoice(ports, record, first.name);
  const again = await chooseAgain(ports, record, failed, { name: first.name, text: first.error.message }, options);
  if (again === undefined) return outcome;
  options.onProgress?.({ kind: 'note', text: again.note });
  const redefine = { accelerator: again.choice, starting: refused.map(({ index }) => index) };
  const { fleet, wait, timeoutMs, force, signal, onProgress, concurrency, bootConcurrency } = options;
  const started = await spawnLocked(ports, { fleet, wait, timeoutMs, force, signal, onProgress, concurrency, bootConcurrency, redefine });
  return merged(outcome, started, again.note, ports.clock.monotonic() - began);
}

/** Takes the result of members that the first run could not start from the second outcome. */
function merged(outcome: Outcome, started: Outcome, note: string, ms: number): Outcome {
  const later = new Map(started.members.map((member) => [member.name, member]));
  // The members that started later get the verb's usual outcome.
  const word: MemberOutcomeKind = outcome.operation.verb === 'reset' ? 'reset' : 'started';
  const members = outcome.members.map((member): MemberOutcome => {
    const now = isRefused(member) ? later.get(member.name) : undefined;
    if (now === undefined) return member;
    return now.outcome === 'failed' || now.outcome === 'cancelled' ? now : { ...now, outcome: word };
  });
  const counts: Outcome['counts'] = { created: 0, unchanged: 0, started: outcome.counts.started + started.counts.started, failed: 0 };
  for (const { outcome: kind } of members) if (kind !== 'started') counts[kind] = (counts[kind] ?? 0) + 1;
  const seconds = Math.round(outcome.operation.seconds * 1000 + ms) / 1000;
  return {
    ...outcome,
    operation: { ...outcome.operation, seconds, interrupted: started.operation.interrupted },
    counts,
    members,
    notes: [...outcome.notes, note, ...started.notes],
  };
}
