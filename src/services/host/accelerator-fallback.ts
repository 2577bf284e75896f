import type { MemberOutcome, MemberOutcomeKind, Outcome } from '../../core/fleet/outcome.js';
import type { Ports } from '../../ports/index.js';
import { loadFleet, type WorkOptions } from '../fleet/access.js';
import { type SpawnOptions, spawnLocked } from '../fleet/spawn/spawn.js';
import { chooseAgain, definedChoice } from './accelerator.js';

/** Whether a member did not start for want of the accelerator or the CPU. */
function isRefused({ step, error }: MemberOutcome): boolean {
  return step === 'start' && error?.code === 'ACCELERATOR_FAILED';
}

/**
 * Starts those that a verb did not start for want of the accelerator or the CPU, with something else that works, which all members of the
 * fleet are defined with. A spawn that is journaled does it, so that resume finishes it after a kill. The fleet is locked, and nothing
 * of it is unfinished.
 * @returns the verb's outcome, with what has become of those members
 */
export async function startOtherwise(
  ports: Ports,
  outcome: Outcome,
  options: WorkOptions & Pick<SpawnOptions, 'fleet' | 'wait' | 'timeoutMs' | 'force'>,
): Promise<Outcome> {
  const refused = outcome.members.filter(isRefused);
  const [first] = refused;
  if (first?.error === undefined || outcome.operation.interrupted) return outcome;
  // Another verb's intent says more of the fleet than this one could.
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

/** The second outcome tells of the members that the first one could not start; of all others the first one does. */
function merged(outcome: Outcome, started: Outcome, note: string, ms: number): Outcome {
  const later = new Map(started.members.map((member) => [member.name, member]));
  // What a member has become is the verb's word for those of its members that did start.
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
