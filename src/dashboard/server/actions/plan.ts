import { CowherdError, reportOf } from '../../../core/errors.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { Plan } from '../../../core/fleet/plan/member-plan.js';
import { formatIndexes } from '../../../core/fleet/selection/selection.js';
import type { Ports } from '../../../ports/index.js';
import { lossOf } from '../../../services/fleet/loss.js';
import type { ActionPlan, Request } from '../../protocol.js';
import { commandOf, membersOf, perform } from './perform.js';

const nothing: Plan = { members: [], unchanged: [], refused: [] };

/** What the action would do, from the same dry run as on the command line. */
export async function planAction(ports: Ports, request: Request, signal: AbortSignal): Promise<ActionPlan> {
  const members = await membersOf(ports, request);
  const command = commandOf(request, members);
  let outcome: Pick<Outcome, 'plan' | 'refusal' | 'notes'>;
  try {
    outcome = await perform(ports, request, { signal, dryRun: true });
  } catch (error) {
    if (!(error instanceof CowherdError)) throw error;
    outcome = { plan: nothing, notes: [], refusal: reportOf(error) };
  }
  const { plan = nothing, refusal = null, notes } = outcome;
  return {
    steps: plan.members.map(({ index, name, steps, why }) => ({ index, name, steps, why })),
    unchanged: plan.unchanged.length,
    refused: plan.refused,
    loss: refusal === null ? await lossOfPlan(ports, request, plan) : null,
    refusal,
    notes,
    command,
  };
}

async function lossOfPlan(ports: Ports, { verb, fleet }: Request, { members }: Plan): Promise<ActionPlan['loss']> {
  if (verb !== 'reset' && verb !== 'teardown') return null;
  const changed = members.filter(({ steps }) =>
    steps.some((step) => step === 'overlay' || step === 'unlink' || step === 'restoreCheckpoint'),
  );
  if (changed.length === 0) return null;
  // A restored checkpoint is kept.
  const kept = new Set(changed.filter(({ steps }) => steps.includes('restoreCheckpoint')).map(({ name }) => name));
  const {
    members: count,
    running,
    driftBytes,
    checkpoints,
  } = await lossOf(ports, fleet, [formatIndexes(changed.map(({ index }) => index))], kept);
  const loss = { members: count, running, driftBytes, checkpoints };
  return verb === 'teardown' || running + driftBytes + checkpoints > 0 ? loss : null;
}
